"""Which processes run, for tests that nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path


def mentioning(text: str) -> dict[int, str]:
    """Processes, other than this one, whose command lines mention ``text``."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and int(entry) != os.getpid():
            found[int(entry)] = command
    return found
