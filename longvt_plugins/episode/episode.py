"""One trajectory as it unfolds, without an engine: what may be done, what is replied, how it ends, and its record.

A loop drives it. After each generation it gives the text to ``policy_turn`` and gets a ``Step``: either how the
trajectory ended, or the calls of the turn, each to be executed or already refused. It executes them, concurrently,
gets from ``reply`` what the policy is to read of the outcomes, in order, adds that to the conversation, and says
so with ``added``.

When a limit is reached, the reply says which and asks for the answer. The turn after that is the last: calls
in it are recorded and not executed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from longvt_plugins.types import CallRecord, CropCall, CropOutcome, EndedBy, Fault, MediaRef, Transcript, Turn

from .calls import FORM, read_calls
from .limits import Limits

ENDED_BY: dict[str, EndedBy] = {
    "calls": "call_limit",
    "malformed": "malformed_limit",
    "turns": "turn_limit",
    "frames": "room_limit",
    "room": "room_limit",
}
CLOSING = "Answer now, without another call."
_MARKS = re.compile(r"<(?=\||/?tool_response>)")
"""Where marks of the chat templates begin: ``<|im_start|>``, ``<|image_pad|>``, ``</tool_response>``."""


@dataclass(frozen=True)
class PlannedCall:
    call: CropCall
    refusal: CropOutcome | None
    """What came of it already; ``None``: execute it."""


@dataclass(frozen=True)
class Step:
    """What follows a turn of the policy: its calls, or the end."""

    calls: tuple[PlannedCall, ...] = ()
    ended_by: EndedBy | None = None

    @property
    def executable(self) -> int:
        return sum(planned.refusal is None for planned in self.calls)


class Episode:
    """Rules and record of one trajectory.

    Args:
        limits: how much it may do.
        tools: names that can be called.
        overview: what the prompt shows of each video.
        media_profile: how frames stand in its messages.
    """

    def __init__(
        self,
        limits: Limits,
        tools: Collection[str] = ("crop_video",),
        overview: Sequence[MediaRef] = (),
        media_profile: str = "frames-time",
    ):
        self.limits = limits
        self._tools = sorted(tools)
        self._overview = tuple(overview)
        self._media_profile = media_profile
        self._turns: list[Turn] = []
        self._calls: list[CallRecord] = []
        self._pending: tuple[PlannedCall, ...] = ()
        self._policy_turns = 0
        self._readable = self._malformed = self._frames = 0
        self._limits_met: list[str] = []
        self._started = time.monotonic()
        self.plugin_s = 0.0

    @property
    def frames_left(self) -> float:
        """Frames that ``limits.max_frames`` still allows."""
        return float("inf") if self.limits.max_frames is None else self.limits.max_frames - self._frames

    @property
    def closing(self) -> bool:
        """Whether the policy was told to answer in its next turn."""
        return bool(self._limits_met)

    def policy_turn(self, text: str, tokens: int, cut: EndedBy | None = None) -> Step:
        """Record what the policy wrote and decide what follows.

        Args:
            cut: why the text ends before the policy's own end of turn, if it does (``length_limit``,
                ``vision_tokens``): then nothing follows.
        """
        calls = read_calls(text)
        self._turns.append(Turn(role="assistant", text=text, tokens=tokens))
        self._policy_turns += 1
        if cut is None and not calls:
            cut = "answer" if "</answer>" in text else "no_answer"
        if cut is None and self.closing:
            cut = ENDED_BY[self._limits_met[-1]]
        if cut is None and self._policy_turns >= self.limits.max_turns:
            cut = "turn_limit"
        if cut is not None:
            for call in calls:
                self._record(call, CropOutcome(status="refused", reply=""))
            return Step(ended_by=cut)
        self._pending = tuple(self._plan(call, number) for number, call in enumerate(calls))
        return Step(calls=self._pending)

    def reply(self, outcomes: Sequence[CropOutcome]) -> list[CropOutcome]:
        """The outcomes of the last step's calls as the policy reads them.

        The last says so if a limit is reached. What a reply quotes, of the policy or of a foreign tool, is never
        tokenized as a mark of the chat template: a placeholder would have no picture.
        """
        replies = [_plain(outcome) for outcome in outcomes]
        reached = self._limit_reached(outcomes)
        if reached is not None:
            replies[-1] = replies[-1].model_copy(update={"note": f"{reached[1]} {CLOSING}"})
        return replies

    def added(self, replies: Sequence[CropOutcome], tokens: int | None) -> None:
        """Record what was added to the conversation.

        Args:
            tokens: how many it took; ``None`` if nothing was added because nothing fits.
        """
        reached = self._limit_reached(replies)
        if reached is not None:
            self._limits_met.append(reached[0])
        self._frames, self._malformed = self._counts_after(replies)
        for planned, outcome in zip(self._pending, replies, strict=True):
            self._record(planned.call, outcome)
        self._pending = ()
        if tokens is not None:
            self._turns.append(Turn(role="tool", text="\n".join(reply.text for reply in replies), tokens=tokens))

    def finish(self, ended_by: EndedBy, fault: Fault | None = None) -> Transcript:
        """The record. Calls that were under way when a fault came are ``failed``."""
        for planned in self._pending:
            self._record(planned.call, planned.refusal or CropOutcome(status="failed", reply="", error=fault))
        self._pending = ()
        return Transcript(
            turns=tuple(self._turns),
            calls=tuple(self._calls),
            limits=asdict(self.limits),
            limits_met=tuple(self._limits_met),
            ended_by=ended_by,
            fault=fault,
            media_profile=self._media_profile,
            overview=self._overview,
            seconds=time.monotonic() - self._started,
            plugin_s=self.plugin_s,
        )

    def _plan(self, call: CropCall, number: int) -> PlannedCall:
        problem, remedy = call.problem, FORM
        if problem is None and call.name not in self._tools:
            problem, remedy = "there is no such tool", f"You may call {', '.join(self._tools) or 'none'}."
        if problem is not None:
            self._malformed += 1
            return PlannedCall(call, CropOutcome(status="malformed", reply=f"Not called: {problem}. {remedy}"))
        if number >= self.limits.max_calls_per_turn:
            reply = f"Not called: a turn may hold {self.limits.max_calls_per_turn} calls."
        elif self._readable >= self.limits.max_calls:
            reply = f"Not called: all {self.limits.max_calls} calls are used."
        else:
            self._readable += 1
            return PlannedCall(call, None)
        return PlannedCall(call, CropOutcome(status="refused", reply=reply))

    def _counts_after(self, outcomes: Sequence[CropOutcome]) -> tuple[int, int]:
        """Frames and malformed calls of the trajectory with these outcomes."""
        frames = self._frames + sum(len(outcome.times_s) for outcome in outcomes)
        # Those refused beforehand are counted already; here are the ones whose arguments the tool could not read.
        malformed = sum(
            outcome.status == "malformed" and planned.refusal is None
            for planned, outcome in zip(self._pending, outcomes, strict=True)
        )
        return frames, self._malformed + malformed

    def _limit_reached(self, outcomes: Sequence[CropOutcome]) -> tuple[str, str] | None:
        """Name of a limit that these outcomes reach, and what to say."""
        limits = self.limits
        frames, malformed = self._counts_after(outcomes)
        if self._readable >= limits.max_calls:
            return "calls", f"All {limits.max_calls} tool calls are used."
        if malformed >= limits.max_malformed:
            return "malformed", f"{malformed} calls could not be read, and no more are allowed."
        if self._policy_turns >= limits.max_turns - 1:
            return "turns", "One turn is left."
        if limits.max_frames is not None and frames >= limits.max_frames:
            return "frames", f"All {limits.max_frames} frames are used."
        if any(outcome.error is not None and outcome.error.kind == "NoRoomError" for outcome in outcomes):
            return "room", "The conversation is nearly full."
        return None

    def _record(self, call: CropCall, outcome: CropOutcome) -> None:
        self._calls.append(CallRecord(turn=len(self._turns) - 1, call=call, outcome=outcome))


def _plain(outcome: CropOutcome) -> CropOutcome:
    text = _MARKS.sub("< ", outcome.reply).encode(errors="replace").decode()
    return outcome if text == outcome.reply else outcome.model_copy(update={"reply": text})
