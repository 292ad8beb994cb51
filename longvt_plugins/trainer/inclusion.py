"""Who takes part in a group's advantage: scored trajectories, if the group has at least two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


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
