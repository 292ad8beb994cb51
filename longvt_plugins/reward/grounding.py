"""How well do the windows the policy looked at cover the windows that hold the answer?

Both sides are sets of ``(start_s, end_s)``, taken as unions: overlaps count once, and crops that waste time
lower the score. Empty, reversed and non-finite windows add nothing. ``tolerance_s`` declares how far off an
edge may be: seconds within it of a ground-truth window cost nothing, so that a crop can be longer than an
event of a fraction of a second and still score 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from longvt_plugins.types import Span

Measure = Literal["iou", "recall"]
Rule = Literal["union", "last", "best"]
"""Which crops count: all together; the last (the original's rule); the best one alone (pays for spraying)."""

_LONGEST_S = 1e9
"""No time in a video. Sums of larger ones lose the seconds."""


def merge(spans: Iterable[Sequence[float]]) -> list[Span]:
    """The union of ``spans`` as disjoint ascending spans."""
    merged: list[Span] = []
    for start_s, end_s in sorted(span for span in ((float(s), float(e)) for s, e in spans) if _is_window(span)):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_s)
        else:
            merged.append((start_s, end_s))
    return merged


def length(spans: Sequence[Span]) -> float:
    """Seconds in disjoint ``spans``."""
    return sum(end_s - start_s for start_s, end_s in spans)


def _overlap(one: Sequence[Span], other: Sequence[Span]) -> float:
    """Seconds that two sets of disjoint spans share."""
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in one for b in other)


def temporal_iou(
    spans: Iterable[Sequence[float]], truths: Iterable[Sequence[float]], tolerance_s: float = 0.0
) -> float:
    """Intersection over union, in [0, 1]; 0 when either side is empty."""
    predicted, true = merge(spans), merge(truths)
    if not predicted or not true:
        return 0.0
    free = merge((start_s - tolerance_s, end_s + tolerance_s) for start_s, end_s in true) if tolerance_s else true
    wasted = max(0.0, length(predicted) - _overlap(predicted, free))
    return min(1.0, _overlap(predicted, true) / (length(true) + wasted))


def temporal_recall(spans: Iterable[Sequence[float]], truths: Iterable[Sequence[float]]) -> float:
    """Share of the ground truth that was looked at. Looking at everything scores 1: prefer ``temporal_iou``."""
    predicted, true = merge(spans), merge(truths)
    if not predicted or not true:
        return 0.0
    return min(1.0, _overlap(predicted, true) / length(true))


def grounding_score(
    spans: Sequence[Sequence[float]],
    truths: Sequence[Sequence[float]],
    rule: Rule = "union",
    measure: Measure = "iou",
    tolerance_s: float = 0.0,
) -> float:
    """Score ``spans``, in the order in which they were cropped, against ``truths``."""

    def score(chosen: Sequence[Sequence[float]]) -> float:
        if measure == "recall":
            return temporal_recall(chosen, truths)
        return temporal_iou(chosen, truths, tolerance_s)

    if rule == "best":
        return max((score([span]) for span in spans), default=0.0)
    return score(spans[-1:] if rule == "last" else spans)


def windows_of(value: Any) -> tuple[list[Span], int]:
    """Ground-truth windows as datasets write them, and how many of them are no window.

    Args:
        value: ``None``, one pair, a list of pairs, either as numpy array or as JSON text.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [], 1
    if value is None or not hasattr(value, "__len__") or len(value) == 0:
        return [], 0
    if isinstance(value, str | dict):
        return [], 1
    rows = list(value) if hasattr(value[0], "__len__") and not isinstance(value[0], str) else [value]
    windows = []
    for row in rows:
        if isinstance(row, str):
            continue
        try:
            start_s, end_s = (float(time_s) for time_s in row)
        except (TypeError, ValueError, OverflowError):
            continue
        if _is_window((start_s, end_s)):
            windows.append((start_s, end_s))
    return windows, len(rows) - len(windows)


def _is_window(span: Span) -> bool:
    return -_LONGEST_S < span[0] < span[1] < _LONGEST_S
