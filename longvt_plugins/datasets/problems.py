"""What is wrong with a conversation of the one shape (``chains.py``): every problem, with column and remedy."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.errors import DataError

ROLES = ("system", "user", "assistant", "tool")
SAMPLING = ("fps", "min_frames", "max_frames", "max_pixels", "min_pixels")
WINDOW = ("video_start", "video_end")
CONTROL = re.compile(r"<\|(?:im_start|im_end|endoftext|vision_start|vision_end|vision_pad|image_pad|video_pad)\|>")
"""Tokens that structure a prompt: in a row's text they would make turns and media out of nothing."""
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a row."""

    column: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.column}: {self.value}: {self.rule}. {self.remedy}"

    @classmethod
    def of(cls, error: DataError) -> Problem:
        """Of an error whose value begins with its column."""
        column, _, value = error.value.partition(": ")
        return cls(column, value, error.rule, error.remedy)

    @property
    def error(self) -> DataError:
        return DataError(f"{self.column}: {self.value}", self.rule, self.remedy)


def problems_of(messages: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Everything that is wrong with messages of the one shape, media files aside."""
    roles = [message.get("role") for message in messages]
    if "assistant" not in roles:
        yield Problem("messages", f"{roles}", "no assistant turn to learn from", "Drop the row.")
    elif roles[-1] != "assistant":
        yield Problem("messages", f"{roles}", "must end with an assistant turn", "Cut what follows the last answer.")
    if roles[0] == "assistant":
        yield Problem("messages[0].role", "'assistant'", "nobody has asked yet", "Put the question before it.")
    calls_open = False
    for index, message in enumerate(messages):
        column, role = f"messages[{index}]", message.get("role")
        before = roles[index - 1] if index else None
        if role not in ROLES:
            yield Problem(f"{column}.role", f"{role!r}", f"is not one of {', '.join(ROLES)}", "Rename it.")
        if role == "system" and index:
            yield Problem(f"{column}.role", "'system'", "only the first message may be it", "Move it to the front.")
        if role in ("assistant", "user") and role == before:
            yield Problem(f"{column}.role", f"{role!r}", "two turns in a row of one side", "Join them.")
        if role == "assistant":
            calls_open = bool(message.get("tool_calls")) or "<tool_call>" in text_of(message)
            if not text_of(message).strip() and not message.get("tool_calls"):
                yield Problem(f"{column}.content", "empty", "an assistant turn must say something", "Drop the row.")
        elif role == "tool" and not (before == "tool" or (before == "assistant" and calls_open)):
            yield Problem(f"{column}.role", "'tool'", "no call stands before this reply", "Write the call, or drop it.")
        yield from _item_problems(column, message)
        yield from _call_problems(column, message)


def text_of(message: Mapping[str, Any]) -> str:
    return "".join(item.get("text", "") for item in message["content"] if item.get("type") == "text")


def _item_problems(column: str, message: Mapping[str, Any]) -> Iterator[Problem]:
    for index, item in enumerate(message["content"]):
        where = f"{column}.content[{index}]"
        if item["type"] == "text":
            found = CONTROL.search(item["text"])
            if found:
                yield Problem(where, found.group(), "a control token in text", "Remove it: it would become a turn.")
            if half := _HALF_CHARACTER.search(item["text"]):
                yield Problem(where, ascii(half.group()), "half a character, which no file can hold", "Remove it.")
            continue
        if message.get("role") == "assistant":
            yield Problem(where, item["type"], "an assistant cannot say a medium", "Move it to the turn it answers.")
        details = item[item["type"]]
        if item["type"] == "video_url":
            yield from _video_problems(where, details)
        elif item["type"] == "frames":
            times, size = details["times_s"], details["size"]
            if not (numbers(times) and all(b > a for a, b in itertools.pairwise(times)) and times[0] >= 0):
                yield Problem(f"{where}.times_s", f"{times}"[:80], "must be ascending seconds", "Correct them.")
            if not (numbers(size) and len(size) == 2 and min(size) > 0):
                yield Problem(f"{where}.size", f"{size}"[:80], "must be [height, width]", "Correct it.")


def _video_problems(where: str, details: Mapping[str, Any]) -> Iterator[Problem]:
    for key in (key for key in SAMPLING if key in details):
        value = details[key]
        if not (numbers([value]) and value > 0):
            yield Problem(f"{where}.{key}", f"{value!r}", "must be a positive number", "Correct or drop it.")
    start, end = (details.get(key) for key in WINDOW)
    given = [value for value in (start, end) if value is not None]
    if given and not (numbers(given) and (start or 0) >= 0 and (end is None or end > (start or 0))):
        yield Problem(
            f"{where}.video_start, video_end", f"[{start}, {end}]", "must satisfy 0 <= start < end", "Correct them."
        )


def _call_problems(column: str, message: Mapping[str, Any]) -> Iterator[Problem]:
    for index, call in enumerate(message.get("tool_calls") or ()):
        where = f"{column}.tool_calls[{index}]"
        function = (call.get("function") or call) if isinstance(call, Mapping) else {}
        function = function if isinstance(function, Mapping) else {}
        if not isinstance(function.get("name"), str):
            yield Problem(where, f"{call}"[:80], "has no function name", "Correct the call.")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError):
                yield Problem(f"{where}.arguments", arguments[:80], "is not JSON", "Write it with json.dumps.")
                continue
        if not isinstance(arguments, Mapping):
            yield Problem(f"{where}.arguments", f"{arguments}"[:80], "must be a JSON object", "Correct the call.")
    if message.get("role") == "assistant":
        for written in re.findall(r"<tool_call>(.*?)(?:</tool_call>|$)", text_of(message), re.DOTALL):
            try:
                good = isinstance(json.loads(written), dict) and f"{written}</tool_call>" in text_of(message)
            except (ValueError, RecursionError):
                good = False
            if not good:
                value = " ".join(written.split())[:80]
                yield Problem(f"{column}.content", value, "a call that no parser reads", "Correct the JSON in it.")


def numbers(values: Any) -> bool:
    """Whether these are numbers, at least one, and all of them finite."""
    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= sys.float_info.max for v in values)
    )
