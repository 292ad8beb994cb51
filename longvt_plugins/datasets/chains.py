"""Conversations of any published shape -> messages of one shape.

One shape: ``{"role", "content", "tool_calls"?}``, content a list of items::

    {"type": "text", "text": ...}
    {"type": "image_url", "image_url": {"url": ...}}
    {"type": "video_url", "video_url": {"url": ..., "fps"?, "min_frames"?, "max_frames"?, "max_pixels"?,
                                        "video_start"?, "video_end"?}}
    {"type": "frames", "frames": {"url": ..., "times_s": [...], "size": [height, width]}}

Read are also: JSON strings, content as a string or null, nulls that parquet added, ``image`` and ``video`` items of
Qwen's form, ``<image>`` and ``<video>`` marks with the columns ``images`` and ``videos``, and LongVT's replies of
tools that stand in a user turn between literal ``<tool_response>`` tags. What the assistant says is kept as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from longvt_plugins.errors import DataError

from .problems import SAMPLING, WINDOW, text_of

MEDIA = {"image_url": ("url",), "video_url": ("url",), "frames": ("url", "times_s", "size")}
_KNOWN_KEYS = {"role", "content", "tool_calls", "tool_call_id", "name"}
_WRAPPED = re.compile(r"\s*<tool_response>(.*)</tool_response>\s*", re.DOTALL)
_MARK = re.compile(r"(<image>|<video>)")


def read_messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Messages of an SFT row in the one shape.

    Raises:
        DataError: they cannot be read as a conversation at all. What else is wrong, ``problems_of`` tells.
    """
    if "messages" not in row:
        raise DataError(
            f"columns {sorted(map(str, row))}", "the column 'messages' is missing", "Convert it: longvt data convert."
        )
    raw = parse_json("messages", row["messages"])
    if not isinstance(raw, list) or not raw:
        raise _bad("messages", raw, "must be a list of messages", "Write at least a question and an answer.")
    media = {f"<{column[:-1]}>": _listed(row, column) for column in ("images", "videos")}
    marked = any(media.values())
    messages = [_message(f"messages[{index}]", message, media if marked else None) for index, message in enumerate(raw)]
    left = {mark: len(items) for mark, items in media.items() if items}
    if left:
        raise _bad("messages", left, "more media than placeholders", "Put one mark per medium, in order.")
    return messages


def read_tools(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Function schemas of an SFT row, ``[]`` if it may call no tool; ``None``: it does not say.

    Raises:
        DataError: the column is there and holds something else.
    """
    raw = row.get("tools")
    if raw in (None, ""):
        return None
    tools = without_nulls(parse_json("tools", raw))
    if not (isinstance(tools, list) and all(isinstance(tool, dict) and tool.get("function") for tool in tools)):
        raise _bad("tools", tools, "must be a list of function schemas", "Give the tools in OpenAI's form, or none.")
    return tools


def parse_json(column: str, raw: Any) -> Any:
    """``raw``, decoded if it is a string."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError as error:
        raise _bad(column, raw, f"is not JSON ({error})", "Write it with json.dumps.") from error
    except RecursionError as error:
        raise _bad(column, raw, "is JSON nested too deep to be read", "Correct the row.") from error


def without_nulls(value: Any) -> Any:
    """``value`` without the null keys that parquet gives structs whose neighbours have them."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _listed(row: Mapping[str, Any], column: str) -> list[Any]:
    media = row.get(column)
    if media is not None and not isinstance(media, list):
        raise _bad(column, media, "must be a list of media", "Correct the row.")
    return list(media or ())


def _message(column: str, raw: Any, media: dict[str, list] | None) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise _bad(column, raw, "must be a message with role and content", "Correct the row.")
    unknown = sorted(key for key in raw.keys() - _KNOWN_KEYS if raw[key] is not None)
    if unknown:
        raise _bad(column, unknown, "unknown keys, which would be lost", f"Known are {sorted(_KNOWN_KEYS)}.")
    role, content, calls = (
        raw.get("role"),
        raw.get("content"),
        parse_json(f"{column}.tool_calls", raw.get("tool_calls")),
    )
    if calls is not None and not isinstance(calls, list):
        raise _bad(f"{column}.tool_calls", calls, "must be a list of calls", "Correct the row.")
    if content is None and not (role == "assistant" and calls):
        raise _bad(f"{column}.content", None, "is null", "Write the text, or drop the row.")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if content is not None and not isinstance(content, list):
        raise _bad(f"{column}.content", content, "must be text or a list of items", "Correct the row.")
    items = []
    for index, item in enumerate(content or ()):
        items += _item(f"{column}.content[{index}]", item, media if role != "assistant" else None)
    message = {"role": role, "content": items}
    if calls:
        message["tool_calls"] = without_nulls(calls)
    return _tool_reply(message)


def _item(column: str, raw: Any, media: dict[str, list] | None) -> list[dict[str, Any]]:
    item = without_nulls(raw)
    if isinstance(item, str):
        item = {"type": "text", "text": item}
    if not isinstance(item, dict):
        raise _bad(column, raw, "must be an item with a type", "Correct the row.")
    kind = item.get("type")
    if kind == "text":
        if not isinstance(item.get("text"), str):
            raise _bad(f"{column}.text", item.get("text"), "must be text", "Write the text, or drop the item.")
        if media is None:
            return [{"type": "text", "text": item["text"]}]
        return [_marked(column, piece, media) for piece in _MARK.split(item["text"]) if piece]
    if kind in ("image", "video"):
        details = {key: value for key, value in item.items() if key not in ("type", kind)}
        return [_medium(f"{column}.{kind}", f"{kind}_url", {"url": item.get(kind), **details})]
    if not isinstance(kind, str) or kind not in MEDIA:
        raise _bad(f"{column}.type", kind, f"is not one of text, {', '.join(MEDIA)}", "Convert or drop the item.")
    return [_medium(f"{column}.{kind}", kind, item.get(kind))]


def _medium(column: str, kind: str, details: Any) -> dict[str, Any]:
    if details is not None and not isinstance(details, dict):
        raise _bad(column, details, f"must be an object with {', '.join(MEDIA[kind])}", "Write it as one.")
    missing = [key for key in MEDIA[kind] if not (details or {}).get(key)]
    if missing:
        raise _bad(column, details, f"lacks {', '.join(missing)}", "Complete the item.")
    if not isinstance(details["url"], str):
        raise _bad(f"{column}.url", details["url"], "must be text", "Write the path of the file.")
    return {"type": kind, kind: dict(details)}


def _marked(column: str, piece: str, media: dict[str, list]) -> dict[str, Any]:
    if piece not in media:
        return {"type": "text", "text": piece}
    if not media[piece]:
        raise _bad(column, piece, "more placeholders than media", "Put one mark per medium, in order.")
    kind, value = piece[1:-1], without_nulls(media[piece].pop(0))
    details = value if isinstance(value, dict) else {kind: value}
    url = details.get(kind) or details.get("path") or details.get("url")
    rest = {key: value for key, value in details.items() if key in (*SAMPLING, *WINDOW)}
    return _medium(f"{kind}s", f"{kind}_url", {"url": url, **(rest if kind == "video" else {})})


def _tool_reply(message: dict[str, Any]) -> dict[str, Any]:
    """LongVT's reply of a tool in a user turn -> a turn of the role ``tool``, without the tags."""
    text = text_of(message)
    wrapped = _WRAPPED.fullmatch(text) if message["role"] == "user" else None
    if not wrapped:
        return message
    media = [item for item in message["content"] if item["type"] != "text"]
    inner = wrapped.group(1).strip()
    return {"role": "tool", "content": [*media, *([{"type": "text", "text": inner}] if inner else [])]}


def _bad(column: str, value: Any, rule: str, remedy: str) -> DataError:
    text = value if isinstance(value, str) else repr(value)
    return DataError(f"{column}: {text[:80]}", rule, remedy)
