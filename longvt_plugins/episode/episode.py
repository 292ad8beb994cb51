"""One trajectory as it unfolds: what was said, which calls were made, what became of them, how it ended.

A loop drives it: ``turn`` after each generation and each tool reply, ``open_call`` before a tool runs and
``close_call`` after, ``finish`` at the end. Calls beyond the limit are refused with a reply that asks for
the answer, so the policy always gets a turn to give one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from longvt_plugins.types import CallRecord, CropCall, CropOutcome, EndedBy, Fault, MediaRef, Transcript, Turn


@dataclass(frozen=True)
class Limits:
    max_calls: int = 5
    """Tool calls in the whole trajectory."""
    max_turns: int = 8
    """Assistant turns."""


class Episode:
    """Collects a ``Transcript``."""

    def __init__(self, limits: Limits, overview: Sequence[MediaRef] = (), media_profile: str = "frames-time"):
        self.limits = limits
        self._overview = tuple(overview)
        self._media_profile = media_profile
        self._turns: list[Turn] = []
        self._calls: list[CropCall] = []
        self._outcomes: dict[int, CropOutcome] = {}
        self._call_turns: list[int] = []

    def turn(self, role: str, text: str, tokens: int) -> None:
        """Append what the policy wrote or what a tool replied."""
        self._turns.append(Turn(role=role, text=text, tokens=tokens))

    def open_call(self, name: str, arguments: str) -> tuple[int, CropOutcome | None]:
        """Note a call. Returns its number, and an outcome if it must not be executed."""
        number = len(self._calls)
        try:
            parsed = json.loads(arguments)
        except (json.JSONDecodeError, TypeError, RecursionError):
            parsed = None
        parsed = parsed if isinstance(parsed, dict) else None
        self._calls.append(CropCall(raw=f"{name}({arguments})", name=name, arguments=parsed))
        self._call_turns.append(len(self._turns) - 1)
        if parsed is None:
            return number, CropOutcome(status="malformed", reply=f"The arguments of {name} must be one JSON object.")
        if number >= self.limits.max_calls:
            reply = f"All {self.limits.max_calls} tool calls are used. Answer now."
            return number, CropOutcome(status="refused", reply=reply)
        return number, None

    def close_call(self, number: int, outcome: CropOutcome) -> None:
        self._outcomes[number] = outcome

    def finish(self, ended_by: EndedBy, fault: Fault | None = None) -> Transcript:
        never_ran = CropOutcome(status="failed", reply="", error=fault)
        return Transcript(
            turns=tuple(self._turns),
            calls=tuple(
                CallRecord(turn=turn, call=call, outcome=self._outcomes.get(number, never_ran))
                for number, (turn, call) in enumerate(zip(self._call_turns, self._calls, strict=True))
            ),
            limits=asdict(self.limits),
            ended_by=ended_by,
            fault=fault,
            media_profile=self._media_profile,
            overview=self._overview,
        )
