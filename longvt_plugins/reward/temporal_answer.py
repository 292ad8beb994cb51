"""Answers that are a time window, as in Time-R1 and Charades-STA: ``12.5 to 20``, ``[12.5, 20.0]``, ``00:12 - 00:20``.

The score is the IoU (or recall) of the window with the ground truth. An answer with more than one pair of
times outside a JSON list of pairs is not read: offering several windows is not an answer.
"""

from __future__ import annotations

import re
from typing import Any

from longvt_plugins.types import Span

from .grounding import windows_of

_TIME = re.compile(
    r"(?<![\d.:])(?:(?:(\d{1,2}):)?(\d{1,3}):(\d{1,2}(?:\.\d+)?)|(\d+(?:\.\d+)?|\.\d+))(?![\d:])(?!\.\d)"
)
_MAX_CHARACTERS = 1000


def parse_windows(answer: Any) -> list[Span]:
    """The windows that ``answer`` states, in seconds; empty when it states none, or cannot be read.

    Args:
        answer: text, or what a dataset holds as ground truth: a pair, a list of pairs, JSON text.
    """
    if not isinstance(answer, str):
        return windows_of(answer)[0]
    text = answer.strip()
    if len(text) > _MAX_CHARACTERS:
        return []
    if text.startswith("["):
        windows, broken = windows_of(text)
        return [] if broken else windows
    times = list(_TIME.finditer(text))
    if len(times) != 2 or "-" in text[: times[0].start()]:
        return []
    return windows_of([_seconds(time) for time in times])[0]


def _seconds(match: re.Match[str]) -> float:
    hours, minutes, seconds, plain = match.groups()
    if plain is not None:
        return float(plain)
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
