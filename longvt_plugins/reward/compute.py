"""One trajectory -> one ``RewardRecord``, from the transcript of what was executed, never from its text.

score = answer * acc + grounding * IoU + format * kept, with the weights of ``RewardConfig``. When nobody can
decide the answer the record abstains; when the trajectory is faulted it says so. Both have score 0 and are
excluded from their group by the trainer ``longvt_sync``: a failure to judge is not a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from longvt_plugins.errors import DataError
from longvt_plugins.types import RewardRecord, Transcript

from .answer import extract_answer, match_answer
from .format import follows_format
from .grounding import temporal_iou


class RewardConfig(BaseModel):
    """Weights of the parts. In a recipe: ``reward.custom_reward_function.reward_kwargs``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: float = 1.0
    grounding: float = 1.0
    format: float = 0.2


def compute_reward(
    transcript: Transcript,
    ground_truth: str,
    options: Sequence[str] | None = None,
    segments: Sequence[Sequence[float]] | None = None,
    config: RewardConfig | None = None,
) -> RewardRecord:
    """Score ``transcript``.

    Args:
        ground_truth: the true answer.
        options: the possible answers, if they are known.
        segments: ground-truth windows ``(start_s, end_s)``; without any, grounding does not apply.
    """
    config = config or RewardConfig()
    crops = transcript.crops_ok()
    counts = {"tool_calls": len(transcript.calls), "crops_ok": len(crops)}
    nothing = {"score": 0.0, "acc": None, "format": 0.0, "grounding": None}
    if transcript.fault:
        reason = f"{transcript.fault.kind}: {transcript.fault.message}"
        return RewardRecord(**nothing, **counts, abstained=False, faulted=True, reason=reason)

    said = [turn.text for turn in transcript.turns if turn.role == "assistant"]
    prediction = extract_answer(said[-1]) if said else None
    match = match_answer(prediction, ground_truth, options)
    if match == "undecided":
        reason = "no rule decides this answer and no judge is configured"
        return RewardRecord(**nothing, **counts, abstained=True, faulted=False, reason=reason)

    acc = float(match == "correct")
    kept = float(follows_format(transcript))
    grounding = temporal_iou([crop.span_s for crop in crops], segments) if segments else None
    return RewardRecord(
        score=config.answer * acc + config.format * kept + config.grounding * (grounding or 0.0),
        acc=acc,
        format=kept,
        grounding=grounding,
        **counts,
        abstained=False,
        faulted=False,
        reason=match if prediction is not None else "no answer",
    )


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **weights: float,
) -> dict[str, Any]:
    """verl's reward signature. Needs the transcript of the loop ``longvt_agent`` in ``extra_info["longvt"]``.

    Returns:
        The fields of ``RewardRecord``; ``score`` is what verl trains on.

    Raises:
        DataError: the trajectory carries no transcript.
    """
    extra_info = extra_info or {}
    if "longvt" not in extra_info:
        raise DataError(
            f"a trajectory of {data_source}",
            "has no transcript in extra_info['longvt']",
            "Roll out with the agent loop 'longvt_agent' (rollout.agent.default_agent_loop).",
        )
    record = compute_reward(
        Transcript.model_validate(extra_info["longvt"]),
        str(ground_truth),
        options=_listed(extra_info.get("options")),
        segments=_listed(extra_info.get("segments")),
        config=RewardConfig(**weights),
    )
    return record.model_dump()


def _listed(values: Any) -> list | None:
    """Rows read from parquet hold lists, numpy arrays or nothing."""
    return None if values is None or len(values) == 0 else list(values)
