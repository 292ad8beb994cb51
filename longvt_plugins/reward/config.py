"""What the reward is made of. In a verl recipe: ``reward.custom_reward_function.reward_kwargs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .format import Think
from .grounding import Measure, Rule
from .judge.config import JudgeConfig
from .sources import ORIGINAL, ORIGINAL_OPTIONS, Task, from_original


class Weights(BaseModel):
    """Weights for samples without a ground-truth segment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: float = 1.0
    format: float = 0.2


class RewardConfig(BaseModel):
    """score = answer * acc + format * kept + grounding * overlap + tool * used - call_cost * further calls.

    Two more keys are understood and expanded: ``profile: parity`` (the original's weights and rules) and the
    original's own options (``use_iou_reward``, ``use_time_reward``, ``tool_use_reward``, ``use_new_reward``,
    ``use_recall``). Fields given beside them win.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: float = 1.0
    grounding: float = 1.0
    format: float = 0.2
    tool: float = 0.0
    """For an executed crop, paid when the answer is at least half right. After SFT it is not needed."""
    ungrounded: Weights | None = None
    """Other weights for samples without a segment; ``None``: the same."""
    call_cost: float = Field(0.0, ge=0)
    """Taken off for each call beyond the first, when the answer is right; never more than the answer earned."""
    spans: Rule = "union"
    """Which executed crops count for grounding."""
    measure: Measure = "iou"
    tolerance_s: float = Field(0.0, ge=0)
    """How far off the edges of a crop may be at no cost, for events shorter than a crop can be. IoU only."""
    interval_measure: Measure = "iou"
    """For sources whose answer is a time window."""
    think: Think = "optional"
    task: Task | None = None
    """Overrides the table of sources."""
    max_answer_characters: int = Field(1000, gt=0)
    """A longer answer is wrong by rule: it is an essay for the judge, and the judge never sees it."""
    from_text: bool = False
    """Without a transcript, read one out of the text. The policy can forge it: see ``conversation``."""
    judge: JudgeConfig | None = None
    on_abstain: Literal["abstain", "raise", "zero"] = "abstain"
    """When nobody can decide: leave the trajectory out; stop; or count the answer as wrong, as others do."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        values = plain(values)
        profile = values.pop("profile", None)
        if profile not in (None, "parity"):
            raise ValueError(f"profile is {profile!r}; the only profile is 'parity'")
        options = {name: bool(values.pop(name)) for name in ORIGINAL_OPTIONS if name in values}
        base = from_original(options) if options else ORIGINAL if profile else {}
        if "use_recall" in values:
            base = {**base, "interval_measure": "recall" if values.pop("use_recall") else "iou"}
        return {**base, **values}


def plain(value: Any) -> Any:
    """OmegaConf's containers as dicts and lists, without importing it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value
