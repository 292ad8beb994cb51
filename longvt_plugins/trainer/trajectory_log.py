"""Every trajectory on disk: ``<folder>/{train,val}/step_000003.jsonl``, one ``TrajectoryRecord`` a line.

The one writer is the trainer. A file appears whole or not at all; a step that runs again after a resume
replaces its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
