"""The answer part: decided by a rule where one is certain, by the judge where none is, or by nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longvt_plugins.types import DecidedBy, Span, Verdict

from .answer import Match, echoes, match_answer, read_answer
from .config import RewardConfig
from .grounding import temporal_iou, temporal_recall
from .math_answer import match_math
from .sources import Task
from .temporal_answer import parse_windows

NO_TRUTH = "the sample has no ground truth"
UNDECIDED = "no rule decides this answer"


@dataclass(frozen=True)
class Grade:
    acc: float | None
    """``None``: nobody decided yet."""
    decided_by: DecidedBy
    reason: str
    judgeable: bool = False
    """Undecided, and the judge may be asked."""
    prediction: str = ""
    verdict: Verdict | None = None

    def by(self, verdict: Verdict) -> Grade:
        """The grade after the judge was asked."""
        decided_by: DecidedBy = "judge" if verdict.status == "ok" else "nobody"
        return Grade(verdict.score, decided_by, verdict.reason, prediction=self.prediction, verdict=verdict)


def references_of(ground_truth: Any) -> list[str]:
    """The answers that are right: a list in a dataset means that any of them is."""
    if ground_truth is None:
        return []
    if hasattr(ground_truth, "tolist"):
        ground_truth = ground_truth.tolist()
    values = ground_truth if isinstance(ground_truth, list | tuple) else [ground_truth]
    return [text for text in (str(value) for value in values if value is not None) if text.strip()]


def grade(
    said: str | None,
    ground_truth: Any,
    task: Task,
    config: RewardConfig,
    options: Sequence[str] | None = None,
    segments: Sequence[Span] = (),
    question: str = "",
) -> Grade:
    """Grade the last assistant turn ``said`` by rules."""
    prediction, missing = read_answer(said or "")
    if prediction is None:
        return _ruled(0.0, missing)
    if len(prediction) > config.max_answer_characters:
        limit = config.max_answer_characters
        return _ruled(0.0, f"an answer of {len(prediction)} characters; at most {limit} are an answer")
    if task == "interval":
        return _grade_interval(prediction, ground_truth, config, segments)
    references = references_of(ground_truth)
    if not references:
        return Grade(None, "nobody", NO_TRUTH)
    match = _best(_match(prediction, reference, task, options) for reference in references)
    if match != "undecided":
        return _ruled(float(match == "correct"), match)
    if echoes(prediction, question):
        return _ruled(0.0, "the question, repeated")
    return Grade(None, "nobody", UNDECIDED, judgeable=True, prediction=prediction)


def _match(prediction: str, reference: str, task: Task, options: Sequence[str] | None) -> Match:
    if task == "math":
        return match_math(prediction, reference)
    match = match_answer(prediction, reference, options)
    return "incorrect" if task == "exact" and match == "undecided" else match


def _best(matches) -> Match:
    found = set(matches)
    return next(match for match in ("correct", "undecided", "incorrect") if match in found)


def _grade_interval(prediction: str, ground_truth: Any, config: RewardConfig, segments: Sequence[Span]) -> Grade:
    truth = parse_windows(ground_truth) or list(segments)
    if not truth:
        return Grade(None, "nobody", NO_TRUTH)
    windows = parse_windows(prediction)
    if not windows:
        return _ruled(0.0, "the answer is not a time window")
    if config.interval_measure == "recall":
        return _ruled(temporal_recall(windows, truth), "recall of the window")
    return _ruled(temporal_iou(windows, truth, config.tolerance_s), "IoU of the window")


def _ruled(acc: float, reason: str) -> Grade:
    return Grade(acc, "rule", reason)
