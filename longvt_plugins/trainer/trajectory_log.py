"""Every trajectory on disk: ``<folder>/{train,val}/step_000003.jsonl``, one ``TrajectoryRecord`` a line.

The one writer is the trainer. A file appears whole or not at all; a step that runs again after a resume
replaces its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from longvt_plugins.types import TrajectoryRecord


def write(folder: str | os.PathLike[str], split: str, step: int, records: Sequence[TrajectoryRecord]) -> Path:
    """Write the trajectories of one step."""
    path = Path(folder) / split / f"step_{step:06d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text("".join(record.model_dump_json() + "\n" for record in records))
    os.replace(scratch, path)
    return path


def read(folder: str | os.PathLike[str], split: str) -> Iterator[TrajectoryRecord]:
    """All trajectories of a split, in step order."""
    for path in sorted(Path(folder, split).glob("step_*.jsonl")):
        with path.open() as lines:
            for line in lines:
                yield TrajectoryRecord.model_validate_json(line)


def metrics(records: Iterable[TrajectoryRecord]) -> dict[str, float]:
    """What verl's logger gets, under ``longvt/``: means over the trajectories for which a part applies."""
    records = list(records)
    if not records:
        return {}
    parts = {
        "reward/acc": [r.reward.acc for r in records if not (r.reward.abstained or r.reward.faulted)],
        "reward/format": [r.reward.format for r in records if not (r.reward.abstained or r.reward.faulted)],
        "reward/grounding": [r.reward.grounding for r in records if r.reward.grounding is not None],
        "tool/calls": [r.reward.tool_calls for r in records],
        "tool/crops_ok": [r.reward.crops_ok for r in records],
        "tool/seconds": [c.outcome.seconds for r in records for c in r.transcript.calls],
        "rate/abstained": [r.reward.abstained for r in records],
        "rate/faulted": [r.reward.faulted for r in records],
        "rate/included": [r.included for r in records],
        "rate/answered": [r.transcript.ended_by == "answer" for r in records],
    }
    return {f"longvt/{name}": float(sum(values) / len(values)) for name, values in parts.items() if values}
