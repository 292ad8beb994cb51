"""Records of trajectories and of evaluations, without a run."""

from __future__ import annotations

from typing import Any

from longvt_plugins.evaluation.results import EvaluationRecord
from longvt_plugins.types import RewardRecord, TrajectoryRecord, Transcript


def trajectory(
    step: int = 1,
    session: int = 0,
    grounding: float | None = None,
    abstained: bool = False,
    transcript: Transcript | None = None,
    **changes: Any,
) -> TrajectoryRecord:
    """A trajectory with one crop and the right answer, or one that abstains."""
    reward = RewardRecord(
        score=0.0 if abstained else 1.2,
        acc=None if abstained else 1.0,
        format=0.0 if abstained else 1.0,
        grounding=grounding,
        tool_calls=1,
        crops_ok=1,
        abstained=abstained,
        faulted=False,
        reason="",
    )
    fields: dict[str, Any] = dict(
        run="r",
        step=step,
        split="train",
        group="g",
        session=session,
        data_source="d",
        sample_index=1,
        question="?",
        ground_truth="red",
        transcript=transcript or Transcript(ended_by="answer"),
        reward=reward,
        included=not abstained,
        advantage=0.0,
        prompt_ids=(1,),
        response_ids=(2,),
        response_mask=(1,),
        rollout_log_probs=(-0.5,),
        weights_step=(0, 0),
    )
    return TrajectoryRecord(**(fields | changes))


def evaluated(id: str, transcript: Transcript, acc: float | None, **reward: Any) -> EvaluationRecord:
    """A question of an evaluation with this answer score.

    Args:
        reward: further fields of its ``RewardRecord``.
    """
    fields = dict(score=acc or 0.0, acc=acc, format=1.0, grounding=None, tool_calls=0, crops_ok=0)
    fields |= dict(abstained=False, faulted=False, reason="") | reward
    return EvaluationRecord(
        id=id,
        data_source="d",
        question="?",
        ground_truth="1",
        segments=(),
        transcript=transcript,
        reward=RewardRecord(**fields),
    )
