"""What verl's logger gets of a step's trajectories, under ``longvt/``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

from longvt_plugins.reward.grounding import length, merge
from longvt_plugins.types import CropOutcome, EndedBy, TrajectoryRecord, Transcript

STATUSES = ("ok", "malformed", "refused", "failed", "foreign")


def metrics(records: Iterable[TrajectoryRecord]) -> dict[str, float]:
    """Means over what each applies to; absent where it applies to nothing. All finite.

    ``reward/*`` over scored trajectories, ``calls/*`` and ``tool/{frames,tokens}`` per trajectory, ``crop/*`` over
    executed crops (``coverage``: over trajectories with a crop, share of the overview's extent that was looked
    at again), ``ended_by/*``, ``rate/*`` and ``limits_met/*`` shares of all trajectories. ``time/loop`` is a sum:
    seconds of the step that this package's code held the rollout workers' event loops.
    """
    records = list(records)
    if not records:
        return {}
    scored = [r.reward for r in records if not (r.reward.abstained or r.reward.faulted)]
    transcripts = [r.transcript for r in records]
    crops = [crop for transcript in transcripts for crop in transcript.crops_ok()]
    decoded = [crop for crop in crops if not crop.cached]
    names = sorted({name for transcript in transcripts for name in transcript.limits_met})
    parts: dict[str, list] = {
        "reward/acc": [reward.acc for reward in scored],
        "reward/format": [reward.format for reward in scored],
        "reward/grounding": [reward.grounding for reward in scored if reward.grounding is not None],
        "calls/all": [len(transcript.calls) for transcript in transcripts],
        **{f"calls/{status}": [_count(transcript, status) for transcript in transcripts] for status in STATUSES},
        "crop/length_s": [crop.span_s[1] - crop.span_s[0] for crop in crops],
        "crop/frames": [len(crop.times_s) for crop in crops],
        "crop/seconds": [crop.seconds for crop in crops],
        "crop/decode_s": [crop.decode_s for crop in decoded],
        "crop/cache_hits": [crop.cached for crop in crops],
        "crop/reduced": [crop.reduced for crop in crops],
        "crop/coverage": [share for transcript in transcripts if (share := coverage(transcript)) is not None],
        "tool/frames": [sum(len(crop.times_s) for crop in transcript.crops_ok()) for transcript in transcripts],
        "tool/tokens": [sum(t.tokens for t in transcript.turns if t.role == "tool") for transcript in transcripts],
        "loop/turns": [sum(t.role == "assistant" for t in transcript.turns) for transcript in transcripts],
        "loop/seconds": [transcript.seconds for transcript in transcripts],
        "loop/plugin_s": [transcript.plugin_s for transcript in transcripts],
        **{f"ended_by/{end}": [transcript.ended_by == end for transcript in transcripts] for end in get_args(EndedBy)},
        **{f"limits_met/{name}": [name in transcript.limits_met for transcript in transcripts] for name in names},
        "rate/abstained": [r.reward.abstained for r in records],
        "rate/faulted": [r.reward.faulted for r in records],
        "rate/included": [r.included for r in records],
    }
    found = {f"longvt/{name}": float(sum(values) / len(values)) for name, values in parts.items() if values}
    return found | {"longvt/time/loop": sum(transcript.plugin_s for transcript in transcripts)}


def coverage(transcript: Transcript) -> float | None:
    """Share of the overview's extent inside the union of the crops, over all videos; ``None`` without either."""
    crops = transcript.crops_ok()
    extents = {ref.path: ref.times_s[-1] for ref in transcript.overview if ref.times_s}
    total = sum(extents.values())
    if not crops or not total:
        return None
    return min(1.0, sum(_seen(crops, path) for path in extents) / total)


def _seen(crops: Sequence[CropOutcome], path: str) -> float:
    return length(merge(crop.span_s for crop in crops if crop.media is not None and crop.media.path == path))


def _count(transcript: Transcript, status: str) -> int:
    return sum(record.outcome.status == status for record in transcript.calls)
