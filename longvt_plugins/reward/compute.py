"""One trajectory -> one ``RewardRecord``, from the transcript of what was executed, never from its text.

``RewardConfig`` states the formula. When nobody can decide the answer the record abstains; when the trajectory is
faulted it says so. Both have score 0 and are excluded from their group by the trainer ``longvt_sync``: a failure to
judge is not a score.

``compute_reward`` is pure: rules, and a verdict if it is handed one. ``judged_reward`` asks the judge where the rules
leave it open. ``compute_score`` is verl's door to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import DataError
from longvt_plugins.types import CropOutcome, RewardRecord, Span, Transcript, Verdict

from .config import RewardConfig
from .conversation import transcript_of_text
from .format import follows_format
from .grade import Grade, grade, references_of
from .grounding import grounding_score, windows_of
from .score import broken_note, settled, with_score
from .sources import source_of

if TYPE_CHECKING:
    from .judge import Judge
    from .judge.config import JudgeConfig


def compute_reward(
    transcript: Transcript,
    ground_truth: Any,
    options: Sequence[str] | None = None,
    segments: Any = None,
    config: RewardConfig | None = None,
    *,
    question: str = "",
    data_source: str = "longvt",
    verdict: Verdict | None = None,
) -> RewardRecord:
    """Score ``transcript`` by rules, and by ``verdict`` where they are undecided.

    Args:
        ground_truth: the true answer; a list holds alternatives; for a source of the task ``interval`` a window.
        options: the possible answers, if they are known.
        segments: ground-truth windows ``(start_s, end_s)``; without any, grounding does not apply.
        question: to recognise an answer that only repeats it.
        data_source: decides how the answer is judged (``sources``).

    Raises:
        JudgeError: nobody could decide, and ``config.on_abstain`` is ``raise``.
    """
    config = config or RewardConfig()
    windows, broken = windows_of(segments)
    grades = _rule_grade(transcript, ground_truth, options, windows, config, question, data_source)
    if grades and grades.judgeable and verdict:
        grades = grades.by(verdict)
    return _record(transcript, grades, windows, broken, config, data_source)


async def judged_reward(
    transcript: Transcript,
    ground_truth: Any,
    options: Sequence[str] | None = None,
    segments: Any = None,
    config: RewardConfig | None = None,
    *,
    question: str = "",
    data_source: str = "longvt",
    judge: Judge | None = None,
) -> RewardRecord:
    """``compute_reward``, asking the judge for what rules leave open.

    Args:
        judge: ``None``: the one of ``config.judge``; without either, what is open stays undecided.

    Raises:
        JudgeError: too many verdicts failed (the judge's breaker), or ``config.on_abstain`` is ``raise``.
    """
    config = config or RewardConfig()
    windows, broken = windows_of(segments)
    sample = transcript, ground_truth, options, windows, config, question, data_source
    # Computer algebra may take seconds.
    in_a_thread = (config.task or source_of(data_source).task) == "math"
    grades = await asyncio.to_thread(_rule_grade, *sample) if in_a_thread else _rule_grade(*sample)
    if grades and grades.judgeable and (judge or config.judge):
        judge = judge or judge_of(config.judge)
        reference = " | ".join(references_of(ground_truth))
        grades = grades.by(await judge.verdict(question, reference, grades.prediction))
    return _record(transcript, grades, windows, broken, config, data_source)


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """verl's reward signature. Reads the transcript of the loop ``longvt_agent`` in ``extra_info["longvt"]``, and
    ``options``, ``segments`` (or ``video_segment``) and ``question`` beside it.

    Args:
        options: fields of ``RewardConfig`` (``reward_kwargs`` of the recipe).

    Returns:
        The fields of ``RewardRecord``; ``score`` is what verl trains on. verl hides what a reward raises and trains
        on the rest of the group, so a judge that is down, or whatever else stands in the way of a verdict, comes back
        as a record with ``stop``, and ``longvt_sync`` ends the run.

    Raises:
        DataError: the trajectory carries no transcript.
    """
    extra_info = extra_info or {}
    config = RewardConfig(**options)
    if config.judge:
        config = config.model_copy(update={"judge": config.judge.with_router(reward_router_address)})
    transcript = _transcript(data_source, solution_str, extra_info, config)
    segments = extra_info.get("segments")
    sample = {
        "options": listed(extra_info.get("options")),
        "segments": extra_info.get("video_segment") if segments is None else segments,
        "question": str(extra_info.get("question") or ""),
        "data_source": data_source,
    }
    try:
        record = await judged_reward(transcript, ground_truth, config=config, **sample)
    except Exception as error:
        # Whatever it is (a full disk under the ledger, too), verl would log it and lose the group.
        tolerant = config.model_copy(update={"on_abstain": "abstain"})
        record = compute_reward(transcript, ground_truth, config=tolerant, **sample)
        record = record.model_copy(update={"reason": str(error), "stop": True})
    return record.model_dump()


def judge_of(config: JudgeConfig) -> Judge:
    """The judge of this event loop for ``config``; the same one at every call.

    Connections belong to an event loop. What was learnt (verdicts, failures) belongs to the process: some trainers
    start a loop for every batch.
    """
    for loop in [loop for loop in _judges if loop.is_closed()]:
        del _judges[loop]
    judges = _judges.setdefault(asyncio.get_running_loop(), {})
    if config not in judges:
        judges[config] = new_judge(config)
    return judges[config]


def new_judge(config: JudgeConfig) -> Judge:
    """A judge that knows what earlier ones of ``config`` have learnt, with connections of its own to close."""
    from .judge import Judge

    _latest[config] = Judge(config, like=_latest.get(config))
    return _latest[config]


_judges: dict[asyncio.AbstractEventLoop, dict[JudgeConfig, Judge]] = {}
_latest: dict[JudgeConfig, Judge] = {}


def _rule_grade(transcript, ground_truth, options, windows, config, question, data_source) -> Grade | None:
    """``None`` for a faulted trajectory: it has no answer to grade."""
    if transcript.fault:
        return None
    said = [turn.text for turn in transcript.turns if turn.role == "assistant"]
    task = config.task or source_of(data_source).task
    return grade(said[-1] if said else None, ground_truth, task, config, options, windows, question)


def _record(
    transcript: Transcript,
    grades: Grade | None,
    windows: list[Span],
    broken: int,
    config: RewardConfig,
    data_source: str,
) -> RewardRecord:
    crops = _of_the_first_video(transcript)
    task = config.task or source_of(data_source).task
    counts = {"score": 0.0, "tool_calls": len(transcript.calls), "crops_ok": len(crops), "task": task}
    if grades is None:
        nothing = {"acc": None, "format": 0.0, "grounding": None, "abstained": False, "faulted": True}
        reason = f"{transcript.fault.kind}: {transcript.fault.message}"
        return RewardRecord(**counts, **nothing, decided_by="nobody", reason=reason)

    acc, reason = settled(grades.acc, grades.reason + (broken_note(broken) if broken else ""), config)
    spans = [crop.span_s for crop in crops]
    grounding = grounding_score(spans, windows, config.spans, config.measure, config.tolerance_s) if windows else None
    record = RewardRecord(
        **counts,
        acc=acc,
        format=float(follows_format(transcript, config.think)),
        grounding=grounding,
        abstained=acc is None,
        faulted=False,
        decided_by=grades.decided_by,
        reason=reason,
        judge_id=grades.verdict.judge_id if grades.verdict else "",
        verdict_key=grades.verdict.key if grades.verdict else "",
    )
    return with_score(record, config, data_source)


def _of_the_first_video(transcript: Transcript) -> list[CropOutcome]:
    """Crops that can ground: ``segments`` speak of a row's first video."""
    first = transcript.overview[0].path if transcript.overview else None
    return [crop for crop in transcript.crops_ok() if None in (first, crop.media) or crop.media.path == first]


def _transcript(data_source: str, solution_str: str, extra_info: Mapping[str, Any], config: RewardConfig) -> Transcript:
    if "longvt" in extra_info:
        return Transcript.model_validate(extra_info["longvt"])
    if config.from_text:
        return transcript_of_text(solution_str)
    raise DataError(
        f"a trajectory of {data_source}",
        "has no transcript in extra_info['longvt']",
        "Roll out with the agent loop 'longvt_agent' (rollout.agent.default_agent_loop).",
    )


def listed(values: Any) -> list[str] | None:
    """Rows read from parquet hold lists, numpy arrays or nothing."""
    return None if values is None or len(values) == 0 else list(values)
