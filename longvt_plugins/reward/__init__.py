"""The reward, usable alone: pure parts and one async function with verl's signature.

In verl: ``reward.custom_reward_function.path=pkg://longvt_plugins.reward``, ``name=compute_score``.
"""

from .answer import extract_answer, match_answer
from .compute import RewardConfig, compute_reward, compute_score
from .format import follows_format
from .grounding import temporal_iou

__all__ = [
    "RewardConfig",
    "compute_reward",
    "compute_score",
    "extract_answer",
    "follows_format",
    "match_answer",
    "temporal_iou",
]
