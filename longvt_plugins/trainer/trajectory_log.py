"""Every trajectory on disk: ``<folder>/{train,val}/step_000003.jsonl``, one ``TrajectoryRecord`` a line.

Written by the trainer, and by ``longvt judge rescore``. A file appears whole or not at all; a step that runs again
after a resume replaces its file. UTF-8, and a line ends with a line feed alone: JSON writes other line ends unescaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from longvt_plugins.errors import DataError
from longvt_plugins.types import TrajectoryRecord


def write(folder: str | os.PathLike[str], split: str, step: int, records: Sequence[TrajectoryRecord]) -> Path:
    """Write the trajectories of one step."""
    path = Path(folder) / split / f"step_{step:06d}.jsonl"
    write_file(path, records)
    return path


def write_file(path: Path, records: Iterable[TrajectoryRecord]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(b"".join(record.model_dump_json().encode() + b"\n" for record in records))
        os.replace(scratch, path)
    finally:
        # Of a disk that is full, it would hold the rest.
        scratch.unlink(missing_ok=True)


def read(folder: str | os.PathLike[str], split: str) -> Iterator[TrajectoryRecord]:
    """All trajectories of a split, in step order.

    Raises:
        DataError: a line is no trajectory.
    """
    for path in sorted(Path(folder, split).glob("step_*.jsonl")):
        yield from read_file(path)


def read_file(path: Path) -> Iterator[TrajectoryRecord]:
    """All trajectories of one file, in order.

    Raises:
        DataError: a line is none.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield TrajectoryRecord.model_validate_json(line)
            except ValidationError as error:
                rule = f"is no trajectory ({str(error).splitlines()[0]})"
                raise DataError(f"{path}, line {number}", rule, "Name files that longvt_sync wrote.") from error
