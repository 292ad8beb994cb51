"""The records that cross rooms: frozen, picklable, JSON with a version, no torch and no pixels.

A frame is passed as a ``MediaRef``; ``longvt_plugins.video.clip_store.get`` turns it into pixels.
Times are seconds from the first frame of the video. Sizes are ``(height, width)``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Span = tuple[float, float]
"""``(start_s, end_s)``."""


class Record(BaseModel):
    """Frozen, and closed: an unknown key is an error, not a silent loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MediaRef(Record):
    """Frames of one video by reference."""

    path: str
    """Absolute path of the video on this node."""
    identity: str
    """Which content of that path: ``"<bytes>-<mtime_ns>"``."""
    times_s: tuple[float, ...]
    """True presentation times of the frames, ascending."""
    size: tuple[int, int]
    """``(height, width)`` in pixels, as the frames are handed out."""


class Fault(Record):
    """An error as data."""

    kind: str
    """Class name from ``longvt_plugins.errors``, or of a foreign exception."""
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Fault:
        return cls(kind=type(error).__name__, message=str(error))


class CropCall(Record):
    """One tool call as the policy wrote it."""

    raw: str
    """The text of the call, unparsed, at most the first 4,096 characters of it."""
    name: str | None = None
    arguments: dict[str, Any] | None = None
    """``None`` when the arguments are not a JSON object."""
    problem: str | None = None
    """Why the call cannot be read: the rule it breaks. ``None``: it can."""


class CropOutcome(Record):
    """What became of a call."""

    status: Literal["ok", "refused", "malformed", "failed", "foreign"]
    """``refused``: well-formed, but the rules say no. ``failed``: the video let us down. ``foreign``: another
    tool than crop_video answered."""
    reply: str
    """What came of the call, in words."""
    note: str = ""
    """What the trajectory adds to it: a limit that was reached."""
    span_s: Span | None = None
    """The window that was really cropped, after clamping. Set only when ``status`` is ``ok``."""
    times_s: tuple[float, ...] = ()
    media: MediaRef | None = None
    digest: str | None = None
    """blake2b of the pixels handed to the policy, so that a frame can be proven to come from a file."""
    tokens: int = 0
    """Prompt tokens that the reply adds (visual ones exactly, text as an upper bound)."""
    seconds: float = 0.0
    """From the call to its outcome, waiting included."""
    decode_s: float = 0.0
    """Of these, decoding; 0 when the clip store had the frames."""
    cached: bool = False
    """Whether the clip store had the frames."""
    reduced: bool = False
    """Whether fewer or smaller frames were returned because little room was left."""
    error: Fault | None = None

    @property
    def text(self) -> str:
        """What the policy reads. A skin adds the times of the frames: ``text_with_times``, or a label on each."""
        return f"{self.reply} {self.note}".strip()

    def text_with_times(self) -> str:
        if not self.times_s:
            return self.text
        return f"{self.text} Frame times in seconds: {', '.join(f'{time_s:.2f}' for time_s in self.times_s)}."


class CallRecord(Record):
    turn: int
    """Index of the assistant turn that wrote the call."""
    call: CropCall
    outcome: CropOutcome


class Turn(Record):
    role: Literal["assistant", "tool"]
    text: str
    tokens: int


EndedBy = Literal[
    "answer", "no_answer", "call_limit", "malformed_limit", "turn_limit", "room_limit", "length_limit", "vision_tokens",
    "fault",
]  # fmt: skip
"""``answer``, ``no_answer``: the policy stopped by itself. ``*_limit``: it was told that the limit was reached and to
answer, and did not; ``length_limit``: it was cut off where the response ends. ``vision_tokens``: it wrote
placeholders of frames that do not exist, and was cut off before them. ``fault``: ours, not the policy's."""


class Transcript(Record):
    """One trajectory as it happened. What a reward reads instead of text."""

    version: Literal[1] = 1
    turns: tuple[Turn, ...] = ()
    calls: tuple[CallRecord, ...] = ()
    limits: dict[str, int | None] = Field(default_factory=dict)
    limits_met: tuple[str, ...] = ()
    """Names of the limits the policy was told it had reached, in order."""
    ended_by: EndedBy
    seconds: float = 0.0
    """Wall time of the trajectory."""
    plugin_s: float = 0.0
    """Of these, in this package's own code on the event loop: not generating, decoding, or building tokens."""
    fault: Fault | None = None
    media_profile: str = "frames-time"
    overview: tuple[MediaRef, ...] = ()
    """What the prompt showed of each video."""

    def crops_ok(self) -> tuple[CropOutcome, ...]:
        """Outcomes of the calls that were executed and returned frames, in order."""
        return tuple(c.outcome for c in self.calls if c.outcome.status == "ok")


class TokenEntropy(Record):
    """How sure a policy was of its own tokens, summed over ``tokens`` of them; nats."""

    tokens: int
    nats: float
    """-log p of the sampled tokens. Their mean estimates the entropy of the distribution they were sampled from,
    without bias if the server reports log-probabilities of that very distribution."""
    listed_nats: float
    """-p log p over the likeliest tokens that the server listed: no more than the entropy where each was sampled."""


AbstainCause = Literal["unreachable", "deadline", "unparsable", "refused", "no_reference"]
"""Why a judge has no verdict: no endpoint answered; time ran out; replies without a verdict; the endpoint
declined the request; there is nothing to compare with."""


class Verdict(Record):
    """A judge's decision. Abstaining is not a score."""

    version: Literal[1] = 1
    status: Literal["ok", "abstain"]
    score: float | None = None
    """1, 0.5 or 0; ``None`` exactly when abstaining."""
    judge_id: str
    """``model@revision``; without a revision, the model's name."""
    reason: str = ""
    cause: AbstainCause | None = None
    """Set exactly when abstaining."""
    key: str = ""
    """Hash of what was asked of whom: the entry in the ledger."""


DecidedBy = Literal["rule", "judge", "nobody"]


class RewardRecord(Record):
    """The reward of one trajectory. Every sample has every key: verl takes the keys of sample 0 for all."""

    score: float
    """What the trainer uses. 0 when abstaining or faulted, and then excluded by ``longvt_sync``."""
    acc: float | None
    """Answer score in [0, 1]. ``None``: nobody could decide."""
    format: float
    grounding: float | None
    """How well executed crops cover the ground truth. ``None``: the sample has no ground-truth segment."""
    tool_calls: int
    crops_ok: int
    abstained: bool
    faulted: bool
    reason: str
    """Why the answer part is what it is."""
    tool: float = 0.0
    """1 when a crop was executed and the answer is at least half right. In the score only if it has a weight."""
    call_cost: float = 0.0
    """What was taken off for calls beyond the first."""
    task: str = "answer"
    """How the answer was judged: a task of ``longvt_plugins.reward.sources``."""
    decided_by: DecidedBy = "rule"
    judge_id: str = ""
    verdict_key: str = ""
    """The verdict's entry in the judge's ledger."""
    stop: bool = False
    """The judge is down, or ``on_abstain`` is ``raise``: ``longvt_sync`` ends the run and shows ``reason``."""


class TrajectoryRecord(Record):
    """One line of a trajectory file: transcript, reward and the tokens that were trained on."""

    version: Literal[1] = 1
    run: str
    step: int
    split: Literal["train", "val"]
    group: str
    """uid of the prompt: trajectories of one group share it."""
    session: int
    data_source: str
    sample_index: int | str
    question: str
    ground_truth: Any
    transcript: Transcript
    reward: RewardRecord
    included: bool
    """Training: whether it took part in its group's advantage. Validation: whether it has a score."""
    advantage: float | None
    """``None`` in validation."""
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    response_mask: tuple[int, ...]
    rollout_log_probs: tuple[float, ...] | None
    weights_step: tuple[int, int]
    """First and last weight version that generated it."""
