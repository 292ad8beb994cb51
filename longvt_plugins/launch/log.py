"""Why a run failed, from the log of its driver and of what Ray forwards."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

_RAY_PREFIX = re.compile(r"^(\x1b\[\d+m)?\(\w+ pid=\d+\)(\x1b\[0m)? ")
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b.*")


def explain(log: Path, lines: int = 12) -> str:
    """The last error in ``log`` with the lines that follow it, or else the last lines."""
    with log.open(errors="replace") as text:
        tail = [line.rstrip()[:600] for line in deque(text, maxlen=4000) if line.strip()]
    # The driver's own lines first: what Ray forwards from its workers arrives late and interleaved.
    for lines_of in ([line for line in tail if not _RAY_PREFIX.match(line)], [_RAY_PREFIX.sub("", t) for t in tail]):
        errors = [i for i, line in enumerate(lines_of) if _ERROR.match(line)]
        if errors:
            return "\n".join(lines_of[errors[-1] :][:lines])
    return "\n".join(tail[-lines:])
