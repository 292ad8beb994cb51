"""A judge's reply -> 1, 0.5 or 0, or ``None``. A reply that could be read in two ways is unparsable.

Three forms are read, after an optional leading ``<think>...</think>`` and one optional code fence:

1. a JSON object with one of the keys ``score``, ``verdict``, ``judgement``, ``judgment``;
2. a bare number, alone or on the first line with the reason below it;
3. a line ``Judgement: NUMBER`` (or score, verdict), first or last in the reply and the only one of its kind.

Numbers are 0, 0.5 and 1 with optional zeros after the point. A number inside running text is never read:
the judge may be quoting the answer it judges.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_CHARACTERS = 20_000
KEYS = ("score", "verdict", "judgement", "judgment")

_NUMBER = r"(?:0?\.50*|[01](?:\.0+)?)"
_THOUGHTS = re.compile(r"\A\s*<think>((?!</?think>).)*</think>", re.DOTALL)
_FENCED = re.compile(r"\A```[a-z]*\s*\n(.*?)\n?\s*```\Z", re.DOTALL | re.IGNORECASE)
_BARE = re.compile(rf"\A\**({_NUMBER})\**\.?\Z")
_LABEL = re.compile(r"\A[#>\s*_-]*(?:the\s+)?(?:final\s+)?(?:score|verdict|judge?ment)\b", re.IGNORECASE)
_LABELLED = re.compile(
    rf"\A[#>\s*_-]*(?:the\s+)?(?:final\s+)?(?:score|verdict|judge?ment)[*_]*\s*(?:is|:|=)\s*[*_]*\s*({_NUMBER})"
    r"(?P<rest>(?:[*_.]*\s*\Z)|[*_]*\s*\(.*\)[*_.]*\Z|[*_]*\s*[.,;:\u2013\u2014-]\s+[^\W\d].*\Z)",
    re.IGNORECASE,
)
_RESTATED = re.compile(r"\b(?:score|verdict|judge?ment)\b\W*(?:is|was|would be|should be)?\W*\d", re.IGNORECASE)
_HEDGE = re.compile(r"\b(?:or|maybe|perhaps|possibly|unsure|not sure|either)\b", re.IGNORECASE)


def parse_verdict(reply: str) -> float | None:
    """The score that ``reply`` states: 1.0, 0.5 or 0.0; ``None`` when it is unparsable."""
    return parse_reply(reply)[0]


def parse_reply(reply: str) -> tuple[float | None, str]:
    """The score that ``reply`` states, or ``None``, and the reason given with it (empty without one)."""
    if not isinstance(reply, str) or len(reply) > MAX_CHARACTERS:
        return None, ""
    text = _THOUGHTS.sub("", reply, count=1).strip()
    if "<think>" in text or "</think>" in text:
        return None, ""
    fenced = _FENCED.match(text)
    text = fenced[1].strip() if fenced else text
    return _from_json(text) if text.startswith("{") else _from_lines(text)


def _from_json(text: str) -> tuple[float | None, str]:
    try:
        value = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        return None, ""
    found = [value[key] for key in value if key.casefold() in KEYS]
    if len(found) != 1:
        return None, ""
    reason = value.get("reason", "")
    return _number(found[0]), reason if isinstance(reason, str) else ""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        match = _BARE.match(value.strip())
        return float(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value in (0, 0.5, 1) else None


def _from_lines(text: str) -> tuple[float | None, str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None, ""
    labels = [index for index, line in enumerate(lines) if _LABEL.match(line)]
    bare = [index for index, line in enumerate(lines) if _BARE.match(line)]
    if len(labels) == 1 and not bare and labels[0] in (0, len(lines) - 1):
        match = _LABELLED.match(lines[labels[0]])
        if match is None or _HEDGE.search(match["rest"]) or _has_number_in_prose(match["rest"]):
            return None, ""
        others = [line for index, line in enumerate(lines) if index != labels[0]]
        reason = " ".join([match["rest"].strip(" *_.,;:()\u2013\u2014-"), *others]).strip()
        return (None, "") if _RESTATED.search(reason) else (float(match[1]), reason)
    if bare == [0] and not labels:
        reason = " ".join(lines[1:])
        return (None, "") if _RESTATED.search(reason) else (float(_BARE.match(lines[0])[1]), reason)
    return None, ""


def _has_number_in_prose(rest: str) -> bool:
    """A second number outside parentheses may be the score that was meant; inside them it counts key points."""
    return not rest.strip().startswith("(") and re.search(r"\d", rest) is not None
