"""Transcripts for projects that have none: out of chat messages, or out of plain text.

Messages are safe: a policy cannot write a message of the role ``tool``. A call counts as executed when the tool
answered it, and the answer does not begin as failures do: "error" (TRL: ``{'error': ...}``), or "no frames" and "not
called", as our own tool and loop say it. Plain text is not safe: whoever writes ``<tool_response>``
after a call looks like a tool. Use it only where a trajectory is nothing but a string (``RewardConfig.from_text``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from longvt_plugins.types import CallRecord, CropCall, CropOutcome, Span, Transcript, Turn

TOOL = "crop_video"

_CALL = re.compile(r"<tool_call>((?:(?!</?tool_call>).)*)</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>((?:(?!</?tool_response>).)*)</tool_response>", re.DOTALL)
_ROLES = re.compile(r"<\|im_start\|>\w*\n?|<\|im_end\|>\n?")
_OF = re.compile(r"\d+ frames? of (\d+\.\d\d) to (\d+\.\d\d) s\.")
_FAILURE = re.compile(r"[\s{\[(\"']*(?:error|no frames|not called)", re.IGNORECASE)


@dataclass
class _Call:
    """A call as it was written.

    Attributes:
        turn: index of the turn that wrote it.
        id: by which an OpenAI message answers it.
        reply: the tool's answer; ``None``: nobody's.
    """

    turn: int
    raw: str
    id: str | None = None
    reply: str | None = None


@dataclass
class _Round:
    """One assistant message's calls, and what tools said before the next: ``(tool_call_id, text)``."""

    calls: list[_Call]
    replies: list[tuple[str | None, str]] = field(default_factory=list)

    def answered(self) -> list[_Call]:
        """The calls, each with its reply."""
        named = {call.id: call for call in self.calls if call.id is not None}
        in_order = []
        for call_id, text in self.replies:
            if call_id is None or not named:
                in_order.append(text)
            elif call_id in named:
                named[call_id].reply = text
        waiting = [call for call in self.calls if call.reply is None]
        if len(in_order) < len(waiting):
            # Most parsers pass over what is no JSON, and answer the rest.
            waiting = [call for call in waiting if isinstance(_loaded(call.raw), dict)]
        for call, text in zip(waiting, in_order, strict=False):
            call.reply = text
        return self.calls


def transcript_of_messages(messages: Iterable[Mapping[str, Any]]) -> Transcript:
    """The policy's part of a conversation: messages of the roles ``assistant`` and ``tool``, others are skipped.

    Calls are read from ``tool_calls``, else from ``<tool_call>`` in the text. Answers belong to the calls of the
    assistant message before them: by ``tool_call_id`` if they name one, else in order.
    """
    turns: list[Turn] = []
    rounds: list[_Round] = []
    for message in messages:
        role, text = message.get("role"), text_of(message.get("content"))
        if role == "assistant":
            if message.get("reasoning_content"):
                text = f"<think>{message['reasoning_content']}</think>{text}"
            structured = message.get("tool_calls") or ()
            written = [_Call(len(turns), _call_text(call), _call_id(call)) for call in structured]
            if written:
                text = "\n".join([text, *(f"<tool_call>\n{call.raw}\n</tool_call>" for call in written)]).strip()
            turns.append(Turn(role="assistant", text=text, tokens=0))
            rounds.append(_Round(written or [_Call(len(turns) - 1, raw) for raw in _CALL.findall(text)]))
        elif role == "tool":
            turns.append(Turn(role="tool", text=text, tokens=0))
            if rounds:
                rounds[-1].replies.append((message.get("tool_call_id"), text))
    return _transcript(turns, rounds)


def transcript_of_text(text: str) -> Transcript:
    """One string, as a tokenizer decodes a trajectory: the policy's words with tool responses between them."""
    turns: list[Turn] = []
    rounds: list[_Round] = []
    position = 0
    for response in [*_RESPONSE.finditer(text), None]:
        said = _ROLES.sub("", text[position : response.start() if response else len(text)]).strip()
        if said:
            turns.append(Turn(role="assistant", text=said, tokens=0))
            rounds.append(_Round([_Call(len(turns) - 1, raw) for raw in _CALL.findall(said)]))
        if response:
            turns.append(Turn(role="tool", text=response[1].strip(), tokens=0))
            if rounds:
                rounds[-1].replies.append((None, response[1]))
            position = response.end()
    return _transcript(turns, rounds)


def text_of(content: Any) -> str:
    """The text of a message's content, which is a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


def _call_text(call: Any) -> str:
    """A call of the OpenAI format as the JSON text that the policy's own format has."""
    function = _get(call, "function") or call
    arguments = _get(function, "arguments")
    if isinstance(arguments, str):
        arguments = _loaded(arguments)
    return json.dumps({"name": _get(function, "name"), "arguments": arguments})


def _call_id(call: Any) -> str | None:
    value = _get(call, "id")
    return value if isinstance(value, str) else None


def _get(value: Any, name: str) -> Any:
    """Of a mapping or an object, as projects have either."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _transcript(turns: list[Turn], rounds: list[_Round]) -> Transcript:
    said = [turn.text for turn in turns if turn.role == "assistant"]
    answered = bool(said) and "</answer>" in said[-1]
    records = tuple(_record(call) for played in rounds for call in played.answered())
    return Transcript(turns=tuple(turns), calls=records, ended_by="answer" if answered else "no_answer")


def _record(call: _Call) -> CallRecord:
    value, reply = _loaded(call.raw), call.reply
    value = value if isinstance(value, dict) else {}
    arguments = value.get("arguments")
    arguments = arguments if isinstance(arguments, dict) else None
    name = value.get("name") if isinstance(value.get("name"), str) else None
    span_s = _span(arguments) if name == TOOL else None
    if span_s is None or reply is None:
        outcome = CropOutcome(status="malformed" if span_s is None else "failed", reply=reply or "")
    elif _FAILURE.match(reply):
        outcome = CropOutcome(status="failed", reply=reply)
    else:
        outcome = CropOutcome(status="ok", reply=reply, span_s=_shown(span_s, reply))
    return CallRecord(turn=call.turn, call=CropCall(raw=call.raw, name=name, arguments=arguments), outcome=outcome)


def _shown(asked_s: Span, reply: str) -> Span:
    """The window that a crop showed: as asked, unless our own tool says that it cut it to the video."""
    said = _OF.match(reply)
    if said is None:
        return asked_s
    start_s, end_s = (
        shown if abs(shown - asked) > 0.01 else asked
        for shown, asked in zip(map(float, said.groups()), asked_s, strict=True)
    )
    return start_s, end_s


def _span(arguments: dict[str, Any] | None) -> Span | None:
    try:
        start_s, end_s = float(arguments["start_time"]), float(arguments["end_time"])
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return (start_s, end_s) if start_s < end_s else None
