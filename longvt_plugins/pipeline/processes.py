"""Commands whose processes all end with them, whatever ends them.

Every process of a command carries a mark in its environment, Ray's and vLLM's workers included, which leave the process
tree. So what a killed run left behind is found and ended by the next one, and no other process is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from longvt_plugins.launch.processes import end_each, signals_leave

GRACE_S = 20.0
_PR_SET_PDEATHSIG = 1


@contextmanager
def started(
    command: Sequence[str], mark: str, log: Path | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """A command that runs, until the block is left.

    Args:
        mark: what is run, unique on this machine. A command that starts marked ones is found by its own and theirs.
        log: receives its output; ``None``: this process's.
        variables: of its environment, beside this process's.

    Raises:
        FileNotFoundError: there is no such command.
    """
    output: Any = log.open("ab") if log else None
    environment = {**os.environ, **(variables or {}), _variable(mark): mark}
    # What this process was asked to stop for stops the block, and so the command.
    with signals_leave():
        try:
            yield subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if log else None,
                env=environment,
                preexec_fn=_end_with_parent,
            )
        finally:
            end(mark)
            if output:
                output.close()


def end(mark: str, grace_s: float = GRACE_S) -> int:
    """End all processes with this mark: asked first, then forced. Returns how many there were."""
    return end_each(lambda: marked(mark), grace_s)


def wait(child: subprocess.Popen, timeout_s: float) -> int | None:
    """Exit code; ``None``: it still runs after ``timeout_s``."""
    try:
        return child.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None


def marked(mark: str) -> list[int]:
    """Processes, other than this one, that were started with ``mark`` or below one that was."""
    wanted, found = f"{_variable(mark)}={mark}".encode(), []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            zombie = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if int(entry) != os.getpid() and not zombie and wanted in environment:
            found.append(int(entry))
    return found


def _variable(mark: str) -> str:
    """One per mark, so that marks of nested commands stand side by side."""
    return f"LONGVT_MARK_{blake2b(mark.encode(), digest_size=8).hexdigest()}"


def _end_with_parent() -> None:
    """Linux: be asked to end when the parent is gone, also when nobody could tell."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
