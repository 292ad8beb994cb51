"""Who takes part in a group's advantage: scored trajectories, if the group has something to compare them with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from longvt_plugins.errors import ConfigError, JudgeError, RolloutError

GROUP_ESTIMATORS = ("grpo", "gdpo", "grpo_passk", "rloo", "opo", "reinforce_plus_plus_baseline")
"""verl's ``algorithm.adv_estimator`` that compare the trajectories of a prompt with each other."""


def least_scored(estimator: str) -> int:
    """How many scored trajectories a group needs to be trained on: two where they are compared."""
    return 2 if estimator in GROUP_ESTIMATORS else 1


def scored(extra_fields: Mapping[str, Any]) -> bool:
    """Whether a trajectory has a score: it neither abstained nor faulted.

    Raises:
        ConfigError: the reward is not ours.
        JudgeError: the reward says that the run must stop (verl hides what a reward raises).
    """
    reward = extra_fields.get("reward_extra_info") or {}
    if not {"abstained", "faulted"} <= reward.keys():
        raise ConfigError(
            f"the reward function returned {sorted(reward)}",
            "longvt_sync needs the keys of RewardRecord",
            "Set reward.custom_reward_function to pkg://longvt_plugins.reward, compute_score.",
        )
    if reward.get("stop"):
        raise JudgeError("the reward", f"ends the run ({reward['reason']})", "See reward_kwargs.judge and on_abstain.")
    return not (reward["abstained"] or reward["faulted"])


def check_survivors(groups: Sequence[str], extra_fields: Sequence[Mapping[str, Any]]) -> None:
    """Refuse rollouts of several groups of which not one came through: to go on would train on nothing, for ever.

    Raises:
        RolloutError: all faulted. The first fault is in the message.
    """
    faults = [(fields.get("longvt") or {}).get("fault") for fields in extra_fields]
    if all(faults) and len(set(groups)) > 1:
        raise RolloutError(
            f"all {len(faults)} trajectories of {len(set(groups))} groups",
            f"faulted, the first by {faults[0]['kind']}: {faults[0]['message'].strip().splitlines()[-1]}",
            "See the log: the rollout engine died (memory?), or the videos are gone. "
            "trainer.resume_mode=auto goes on from the last checkpoint.",
        )


def included(groups: Sequence[str], scored: Sequence[bool], at_least: int = 2) -> list[bool]:
    """Decide for each trajectory whether it moves its group's mean and std, and is trained on.

    Args:
        groups: group id (prompt uid) of each trajectory.
        scored: False for an abstained or faulted trajectory.
        at_least: groups with fewer scored trajectories give no gradient. GRPO hands a lone survivor its
            raw score as advantage (``verl/trainer/ppo/core_algos.py``), which compares it with nothing.

    Returns:
        One bool per trajectory, in order.
    """
    count = Counter(group for group, is_scored in zip(groups, scored, strict=True) if is_scored)
    return [is_scored and count[group] >= at_least for group, is_scored in zip(groups, scored, strict=True)]


def gives_no_signal(values: Sequence[float]) -> bool:
    """Whether a group's scored values compare nothing: fewer than two, or all equal (DAPO's rule)."""
    return len(set(values)) < 2
