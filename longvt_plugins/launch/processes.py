"""Nothing left behind: this process adopts what its children leave, and ends all of it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

GRACE_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def ending_all() -> Iterator[None]:
    """Ends every process below this one on the way out, whatever the way; SIGTERM and SIGHUP become ways out."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with signals_leave() as numbers:
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, signal.SIG_IGN)
            end_descendants()


@contextmanager
def signals_leave() -> Iterator[tuple[int, ...]]:
    """Within the block SIGTERM and SIGHUP, which it is given, raise SystemExit, so that it is left in good order."""
    previous = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield tuple(previous)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _leave(number: int, _) -> None:
    sys.exit(128 + number)


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # The command name, in parentheses, may hold spaces and parentheses.
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry))
    found, open_ends = [], [root]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def end_descendants() -> int:
    """End every process below this one: asked first, then forced. Returns how many there were."""
    return end_each(lambda: descendants(os.getpid()), GRACE_S, _reap)


def end_each(find: Callable[[], list[int]], grace_s: float, then: Callable[[], None] = lambda: None) -> int:
    """End what ``find`` finds until it finds nothing: asked first, then forced. Returns how many there were.

    Args:
        then: called after each look.
    """
    ended: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + grace_s
        while (left := find()) and time.monotonic() < deadline:
            for pid in left:
                if number == signal.SIGKILL or pid not in ended:
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        continue
                    ended.add(pid)
            time.sleep(0.1)
            then()
    return len(ended)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
