"""Parts -> score: the formula of ``RewardConfig``, in one place."""

from __future__ import annotations

from longvt_plugins.errors import JudgeError
from longvt_plugins.types import RewardRecord

from .config import RewardConfig
from .sources import source_of


def with_score(record: RewardRecord, config: RewardConfig, data_source: str) -> RewardRecord:
    """``record`` with what follows from its parts: ``tool``, ``call_cost`` and ``score``; 0 without an ``acc``."""
    acc = record.acc
    if acc is None:
        return record.model_copy(update={"score": 0.0, "tool": 0.0, "call_cost": 0.0})
    weights = config.ungrounded if record.grounding is None and config.ungrounded else config
    further_calls = max(0, record.tool_calls - 1)
    call_cost = min(config.call_cost * further_calls, weights.answer) if acc == 1 else 0.0
    used = float(record.crops_ok > 0 and acc >= 0.5)
    grounding = config.grounding * (record.grounding or 0.0)
    score = weights.answer * acc + weights.format * record.format + grounding + config.tool * used - call_cost
    if source_of(data_source).score_is_acc:
        score = acc
    return record.model_copy(update={"score": score, "tool": used, "call_cost": call_cost})


def settled(acc: float | None, reason: str, config: RewardConfig) -> tuple[float | None, str]:
    """Answer score and reason, once ``config.on_abstain`` is applied to what nobody could decide.

    Raises:
        JudgeError: it is ``raise``.
    """
    if acc is not None or config.on_abstain == "abstain":
        return acc, reason
    if config.on_abstain == "zero":
        return 0.0, f"{reason}; counted as wrong (on_abstain: zero)"
    remedy = "Repair the judge or the row."
    raise JudgeError(reason, "leaves an answer undecided, and on_abstain is 'raise'", remedy)


def broken_note(count: int) -> str:
    """What is added to a reason when ground-truth segments are no windows."""
    return f"; {count} of the ground-truth segments are no windows"
