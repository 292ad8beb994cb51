"""Transcripts for projects that have none: out of chat messages, or out of plain text.

Messages are safe: a policy cannot write a message of the role ``tool``. A call counts as executed when the tool
answered it, and the answer does not begin with "error". Plain text is not safe: whoever writes ``<tool_response>``
after a call looks like a tool. Use it only where a trajectory is nothing but a string (``RewardConfig.from_text``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longvt_plugins.types import CallRecord, CropCall, CropOutcome, Transcript, Turn

TOOL = "crop_video"

_CALL = re.compile(r"<tool_call>((?:(?!</?tool_call>).)*)</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>((?:(?!</?tool_response>).)*)</tool_response>", re.DOTALL)
_ROLES = re.compile(r"<\|im_start\|>\w*\n?|<\|im_end\|>\n?")


def transcript_of_messages(messages: Iterable[Mapping[str, Any]]) -> Transcript:
    """The policy's part of a conversation: messages of the roles ``assistant`` and ``tool``, others are skipped.

    Calls are read from ``tool_calls``, else from ``<tool_call>`` in the text. Answers belong to the calls of the
    assistant message before them, in order.
    """
    turns: list[Turn] = []
    calls: list[tuple[int, str]] = []
    replies: list[str | None] = []
    for message in messages:
        role, text = message.get("role"), text_of(message.get("content"))
        if role == "assistant":
            if message.get("reasoning_content"):
                text = f"<think>{message['reasoning_content']}</think>{text}"
            written = [_call_text(call) for call in message.get("tool_calls") or ()]
            if written:
                text = "\n".join([text, *(f"<tool_call>\n{call}\n</tool_call>" for call in written)]).strip()
            turns.append(Turn(role="assistant", text=text, tokens=0))
            calls += [(len(turns) - 1, call) for call in written or _CALL.findall(text)]
            replies += [None] * (len(calls) - len(replies))
        elif role == "tool":
            turns.append(Turn(role="tool", text=text, tokens=0))
            if None in replies:
                replies[replies.index(None)] = text
    return _transcript(turns, calls, replies)


def transcript_of_text(text: str) -> Transcript:
    """One string, as a tokenizer decodes a trajectory: the policy's words with tool responses between them."""
    turns: list[Turn] = []
    calls: list[tuple[int, str]] = []
    replies: list[str | None] = []
    position = 0
    for response in [*_RESPONSE.finditer(text), None]:
        said = _ROLES.sub("", text[position : response.start() if response else len(text)]).strip()
        if said:
            turns.append(Turn(role="assistant", text=said, tokens=0))
            calls += [(len(turns) - 1, call) for call in _CALL.findall(said)]
            replies += [None] * (len(calls) - len(replies))
        if response:
            turns.append(Turn(role="tool", text=response[1].strip(), tokens=0))
            if None in replies:
                replies[replies.index(None)] = response[1]
            position = response.end()
    return _transcript(turns, calls, replies)


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


def _call_text(call: Any) -> str:
    """A call of the OpenAI format as the JSON text that the policy's own format has."""
    function = call.get("function", call) if isinstance(call, Mapping) else call
    get = function.get if isinstance(function, Mapping) else lambda name: getattr(function, name, None)
    arguments = get("arguments")
    if isinstance(arguments, str):
        arguments = _loaded(arguments)
    return json.dumps({"name": get("name"), "arguments": arguments})


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _transcript(turns: list[Turn], calls: list[tuple[int, str]], replies: list[str | None]) -> Transcript:
    said = [turn.text for turn in turns if turn.role == "assistant"]
    answered = bool(said) and "</answer>" in said[-1]
    records = [_record(turn, raw, reply) for (turn, raw), reply in zip(calls, replies, strict=True)]
    return Transcript(turns=tuple(turns), calls=tuple(records), ended_by="answer" if answered else "no_answer")


def _record(turn: int, raw: str, reply: str | None) -> CallRecord:
    value = _loaded(raw)
    value = value if isinstance(value, dict) else {}
    arguments = value.get("arguments")
    arguments = arguments if isinstance(arguments, dict) else None
    name = value.get("name") if isinstance(value.get("name"), str) else None
    span_s = _span(arguments) if name == TOOL else None
    if span_s is None or reply is None:
        outcome = CropOutcome(status="malformed" if span_s is None else "failed", reply=reply or "")
    elif reply.strip().lower().startswith("error"):
        outcome = CropOutcome(status="failed", reply=reply)
    else:
        outcome = CropOutcome(status="ok", reply=reply, span_s=span_s)
    return CallRecord(turn=turn, call=CropCall(raw=raw, name=name, arguments=arguments), outcome=outcome)


def _span(arguments: dict[str, Any] | None) -> tuple[float, float] | None:
    try:
        start_s, end_s = float(arguments["start_time"]), float(arguments["end_time"])
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return (start_s, end_s) if start_s < end_s else None
