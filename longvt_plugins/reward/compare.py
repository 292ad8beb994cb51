"""Two scorings of the same rollouts: how far they agree, and what would have changed in training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import BaseModel

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import TrajectoryRecord


class Comparison(BaseModel):
    """What ``longvt judge compare`` prints. A and B are the two scorings."""

    trajectories: int
    judged: int
    """Decided by a judge, or undecided, in at least one."""
    agreement: float | None
    """Share of trajectories with equal ``acc`` among the judged that both decided; ``None`` without any."""
    transitions: dict[str, int]
    """``"A -> B"`` of ``acc`` among the judged, ``-`` for an abstention."""
    mean_score: tuple[float | None, float | None]
    """Over scored trajectories."""
    groups: int
    groups_changed: int
    """Groups with a trajectory whose GRPO advantage changes by more than 0.1."""
    signs_changed: int
    """Trajectories that would have been pushed the other way."""


def compare(a: Iterable[TrajectoryRecord], b: Iterable[TrajectoryRecord]) -> Comparison:
    """
    Raises:
        ConfigError: not the same trajectories.
    """
    first, second = _by_identity(a), _by_identity(b)
    if first.keys() != second.keys():
        raise ConfigError(
            f"A with {len(first)} trajectories and B with {len(second)}",
            f"have {len(first.keys() & second.keys())} in common; all must be",
            "Compare a dump with its own rescoring.",
        )
    pairs = [(first[key], second[key]) for key in first]
    judged = [(x, y) for x, y in pairs if _is_judged(x) or _is_judged(y)]
    decided = [(x.reward.acc, y.reward.acc) for x, y in judged if None not in (x.reward.acc, y.reward.acc)]
    groups: dict[tuple, list[tuple[TrajectoryRecord, TrajectoryRecord]]] = defaultdict(list)
    for x, y in pairs:
        if x.split == "train":
            groups[x.step, x.group].append((x, y))
    advantages = [(_advantages([x for x, _ in g]), _advantages([y for _, y in g])) for g in groups.values()]
    return Comparison(
        trajectories=len(pairs),
        judged=len(judged),
        agreement=sum(x == y for x, y in decided) / len(decided) if decided else None,
        transitions=dict(Counter(f"{_shown(x)} -> {_shown(y)}" for x, y in judged)),
        mean_score=(_mean_score(first.values()), _mean_score(second.values())),
        groups=len(groups),
        groups_changed=sum(bool((np.abs(x - y) > 0.1).any()) for x, y in advantages),
        signs_changed=sum(int((x * y < 0).sum()) for x, y in advantages),
    )


def _by_identity(records: Iterable[TrajectoryRecord]) -> dict[tuple, TrajectoryRecord]:
    return {(r.split, r.step, r.group, r.session): r for r in records}


def _is_judged(record: TrajectoryRecord) -> bool:
    return record.reward.decided_by != "rule" and not record.reward.faulted


def _shown(record: TrajectoryRecord) -> str:
    return "-" if record.reward.acc is None else f"{record.reward.acc:g}"


def _scores(records: Iterable[TrajectoryRecord]) -> np.ndarray:
    """NaN for a trajectory without a score."""
    return np.array([np.nan if r.reward.abstained or r.reward.faulted else r.reward.score for r in records])


def _mean_score(records: Iterable[TrajectoryRecord]) -> float | None:
    scores = _scores(records)
    scored = scores[~np.isnan(scores)]
    return float(scored.mean()) if len(scored) else None


def _advantages(records: Sequence[TrajectoryRecord]) -> np.ndarray:
    """GRPO's, as ``longvt_sync`` gives them."""
    scores = _scores(records)
    scored = scores[~np.isnan(scores)]
    if len(scored) < 2:
        return np.zeros(len(scores))
    return np.nan_to_num((scores - scored.mean()) / (scored.std(ddof=1) + 1e-6))
