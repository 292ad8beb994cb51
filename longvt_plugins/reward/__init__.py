"""The reward, usable alone: pure parts, a judge, and one async function with verl's signature.

In verl: ``reward.custom_reward_function.path=pkg://longvt_plugins.reward``, ``name=compute_score``.
Elsewhere: ``adapters``. Importing this needs pydantic and numpy; ``openai`` is imported at the first judge call.
"""

from .answer import extract_answer, match_answer
from .compute import compute_reward, compute_score, judged_reward
from .config import RewardConfig
from .conversation import transcript_of_messages, transcript_of_text
from .format import follows_format
from .grounding import grounding_score, temporal_iou, temporal_recall
from .judge import Judge, JudgeConfig
from .verdict import parse_verdict

__all__ = [
    "Judge",
    "JudgeConfig",
    "RewardConfig",
    "compute_reward",
    "compute_score",
    "extract_answer",
    "follows_format",
    "grounding_score",
    "judged_reward",
    "match_answer",
    "parse_verdict",
    "temporal_iou",
    "temporal_recall",
    "transcript_of_messages",
    "transcript_of_text",
]
