"""Answers that are a time window, as in Time-R1 and Charades-STA: ``12.5 to 20``, ``[12.5, 20.0]``, ``00:12 - 00:20``,
``1 min 12 s to 1 min 20 s``.

The score is the IoU (or recall) of the window with the ground truth. An answer with more than one pair of
times outside a JSON list of pairs is not read: offering several windows is not an answer. Nor is ``2 to 3 min``, whose
first unit is anybody's guess.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from longvt_plugins.types import Span

from .grounding import windows_of

_NUMBER, _WHOLE = r"\d+(?:\.\d+)?|\.\d+", r"(?![\d:])(?!\.\d)"
_H, _M, _S = (
    rf"\s*(?:{unit})(?![a-z])" for unit in ("h|hrs?|hours?|小时", "m|mins?|minutes?|分钟?", "s|secs?|seconds?|秒")
)
_TIME = re.compile(
    rf"(?<![\d.:])(?:"
    rf"(?:(?P<hours>\d{{1,2}}):)?(?P<minutes>\d{{1,3}}):(?P<seconds>\d{{1,2}}(?:\.\d+)?){_WHOLE}"
    rf"|(?:(?P<h>\d{{1,2}}){_H}\s*)?(?P<m>{_NUMBER}){_WHOLE}{_M}(?:\s*(?P<s>{_NUMBER}){_WHOLE}{_S})?"
    rf"|(?P<plain>{_NUMBER}){_WHOLE}(?!{_H})(?P<unit>{_S})?)"
)
_SIGN = re.compile(r"(?<!\w)[-\u2212]\s*$")
_MAX_CHARACTERS = 1000


def parse_windows(answer: Any) -> list[Span]:
    """The windows that ``answer`` states, in seconds; empty when it states none, or cannot be read.

    Args:
        answer: text, or what a dataset holds as ground truth: a pair, a list of pairs, JSON text.
    """
    if not isinstance(answer, str):
        return windows_of(answer)[0]
    text = unicodedata.normalize("NFKC", answer.strip()[: _MAX_CHARACTERS + 1]).casefold()
    if len(text) > _MAX_CHARACTERS:
        return []
    if text.startswith("["):
        windows, broken = windows_of(text)
        if not broken:
            return windows
        # Not JSON: "[12 s, 20 s]".
        if text.count("[") > 1 or not text.endswith("]"):
            return []
    times = list(_TIME.finditer(text))
    if len(times) != 2 or _SIGN.search(text[: times[0].start()]):
        return []
    if any(time["m"] for time in times) and any(time["plain"] and not time["unit"] for time in times):
        return []
    return windows_of([_seconds(time) for time in times])[0]


def _seconds(match: re.Match[str]) -> float:
    if match["plain"]:
        return float(match["plain"])
    if match["m"]:
        return 3600 * int(match["h"] or 0) + 60 * float(match["m"]) + float(match["s"] or 0)
    return 3600 * int(match["hours"] or 0) + 60 * int(match["minutes"]) + float(match["seconds"])
