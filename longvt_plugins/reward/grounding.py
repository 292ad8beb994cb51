"""How well do the windows the policy looked at cover the windows that hold the answer?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from longvt_plugins.types import Span


def merge(spans: Iterable[Sequence[float]]) -> list[Span]:
    """The union of ``spans`` as disjoint ascending spans. Empty and reversed spans add nothing."""
    merged: list[Span] = []
    for start_s, end_s in sorted((float(s), float(e)) for s, e in spans if s < e):
        if merged and start_s <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_s)
        else:
            merged.append((start_s, end_s))
    return merged


def length(spans: Sequence[Span]) -> float:
    return sum(end_s - start_s for start_s, end_s in spans)


def temporal_iou(spans: Iterable[Sequence[float]], truths: Iterable[Sequence[float]]) -> float:
    """Intersection over union of two sets of windows, each taken as the union of its ``(start_s, end_s)``.

    0 when either side is empty. Overlaps count once, so many crops pay for what they waste.
    """
    predicted, true = merge(spans), merge(truths)
    union = length(merge([*predicted, *true]))
    if not predicted or not true:
        return 0.0
    return (length(predicted) + length(true) - union) / union
