"""Where a run is, as a small file that others can watch: ``progress.json`` in the run's folder.

The trainer writes it at each phase; ``longvt watch`` shows it and ends a run whose file stands still.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

FILE_NAME = "progress.json"


class Progress:
    """Writes one JSON object, atomically, each time the phase changes."""

    def __init__(self, folder: str | os.PathLike[str]):
        self.path = Path(folder) / FILE_NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, phase: str, step: int, total_steps: int) -> None:
        """Args: what begins now, and the step it belongs to."""
        record = {"phase": phase, "step": step, "total_steps": total_steps, "time": time.time()}
        scratch = self.path.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps(record))
        os.replace(scratch, self.path)


def read(path: str | os.PathLike[str]) -> dict | None:
    """The last record, or ``None`` before the first."""
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
