"""Advantages per reward component: each is compared within its group on its own scale, then they are added.

GRPO adds the components first, so a part with a small spread (format) drowns in one with a large spread, and two
different mixes with the same total look the same (GDPO, arXiv 2601.05242). verl's own ``gdpo`` estimator needs
columns that the V1 trainer does not fetch. A component that does not apply to a sample (``None``) neither pays nor
moves its group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

EPSILON = 1e-6


def component_advantages(
    groups: Sequence[str], rewards: Sequence[Mapping[str, object]], weights: Mapping[str, float]
) -> np.ndarray:
    """One advantage per trajectory, float64 ``[n]``: mean 0 and standard deviation 1 over the batch.

    Args:
        groups: group id (prompt uid) of each trajectory, included ones only.
        rewards: the record of each, with the components as fields.
        weights: of the components that count.
    """
    total = np.zeros(len(groups))
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    for name, weight in weights.items():
        for indices in members.values():
            applies = [index for index in indices if rewards[index][name] is not None]
            if len(applies) < 2:
                continue
            values = np.array([float(rewards[index][name]) for index in applies])
            total[applies] += weight * (values - values.mean()) / (values.std(ddof=1) + EPSILON)
    if len(total) < 2:
        return total
    return (total - total.mean()) / (total.std(ddof=1) + EPSILON)
