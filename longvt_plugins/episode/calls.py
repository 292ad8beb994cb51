"""The tool calls in what a policy wrote: ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``.

The format is Hermes', which Qwen's checkpoints write; what can be read here is what vLLM's and verl's parsers
read. What they drop without a word becomes a call with a ``problem``, for the policy to learn from. The text is
hostile: it is bounded, parsed as JSON, and nothing in it is ever run.
"""

from __future__ import annotations

import json
import re

from longvt_plugins.types import CropCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MAX_CHARACTERS = 16_384
"""A longer call is not parsed."""
RECORDED_CHARACTERS = 4_096
MAX_DEPTH = 16
"""Levels of a call's JSON. Records are JSON, too, and their readers give up at some two hundred."""
FORM = 'Write <tool_call>{"name": "crop_video", "arguments": {"start_time": 12.5, "end_time": 20.0}}</tool_call>.'

_CALL = re.compile(rf"{OPEN}(?P<body>.*?)(?P<close>{CLOSE}|(?={OPEN})|\Z)", re.DOTALL)


def read_calls(text: str) -> list[CropCall]:
    """Calls in ``text``, in order; one that cannot be read has a ``problem``."""
    return [_read(match["body"], bool(match["close"])) for match in _CALL.finditer(text)]


def write_call(name: str, arguments: str) -> str:
    """A call as a policy writes it, from the structured form of an OpenAI-compatible server.

    Args:
        arguments: JSON text, as the server hands it out.
    """
    return f'{OPEN}\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments}}}\n{CLOSE}'


def _read(body: str, closed: bool) -> CropCall:
    raw = body.strip()
    shown = raw[:RECORDED_CHARACTERS]
    if not closed:
        return CropCall(raw=shown, problem=f"{OPEN} is not closed with {CLOSE}")
    if len(raw) > MAX_CHARACTERS:
        return CropCall(raw=shown, problem=f"a call of {len(raw)} characters is too long; {MAX_CHARACTERS} are allowed")
    try:
        call, end = json.JSONDecoder().raw_decode(raw)
    except (ValueError, RecursionError):
        return CropCall(raw=shown, problem="the text between the tags is not JSON")
    if unrecordable := _unrecordable(call):
        return CropCall(raw=shown, problem=unrecordable)
    if raw[end:].strip():
        return CropCall(raw=shown, problem="there is more than one JSON object between the tags; write one per call")
    name = call.get("name") if isinstance(call, dict) else None
    if not isinstance(name, str):
        return CropCall(raw=shown, problem='the call must be a JSON object with "name" and "arguments"')
    arguments = call.get("arguments")
    if not isinstance(arguments, dict):
        return CropCall(raw=shown, name=name[:200], problem=f"the arguments of {name[:60]} must be one JSON object")
    return CropCall(raw=shown, name=name[:200], arguments=arguments)


def _unrecordable(call: object) -> str | None:
    """Why what was parsed cannot be written down as JSON again."""
    if _deeper(call, MAX_DEPTH):
        return f"its JSON is nested deeper than {MAX_DEPTH} levels"
    try:
        json.dumps(call, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it holds one half of a character (an escape from \\ud800 to \\udfff that stands alone)"
    return None


def _deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    return levels == 0 or any(
        _deeper(below, levels - 1) for below in (value.values() if isinstance(value, dict) else value)
    )
