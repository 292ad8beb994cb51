"""Records -> figures and a table. What was not scored moves no mean, and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from longvt_plugins.reward import temporal_iou

from .results import EvaluationRecord, Header


@dataclass(frozen=True)
class Summary:
    """Means are ``None`` where there is nothing to take them of."""

    questions: int
    missing: int
    """Not asked yet."""
    faulted: int
    abstained: int
    """Nobody could decide the answer."""
    accuracy: float | None
    """Mean answer score of those that have one."""
    format: float | None
    tool_use: float | None
    """Share with at least one executed crop."""
    calls: float | None
    """Per question."""
    miou: float | None
    """Union of executed crops against the ground truth, where there is one; no crop counts as 0."""
    ended_by: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[EvaluationRecord], questions: int) -> Summary:
        records = list(records)
        lived = [record for record in records if not record.reward.faulted]
        return cls(
            questions=questions,
            missing=questions - len(records),
            faulted=len(records) - len(lived),
            abstained=sum(record.reward.abstained for record in lived),
            accuracy=_mean([record.reward.acc for record in lived if record.reward.acc is not None]),
            format=_mean([record.reward.format for record in lived]),
            tool_use=_mean([float(record.reward.crops_ok > 0) for record in lived]),
            calls=_mean([float(record.reward.tool_calls) for record in lived]),
            miou=_mean([_iou(record) for record in lived if record.segments]),
            ended_by=dict(Counter(record.transcript.ended_by for record in records).most_common()),
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def table(rows: Sequence[tuple[Header, Summary]]) -> str:
    """A line per result, and how its conversations ended."""
    titles = ["model", "mode", "asked", "accuracy", "format", "tool use", "calls", "mIoU", "faulted", "abstained"]
    lines = [titles] + [
        [
            header.model,
            header.mode,
            f"{found.questions - found.missing}/{found.questions}",
            *(_figure(value) for value in (found.accuracy, found.format, found.tool_use, found.calls, found.miou)),
            str(found.faulted),
            str(found.abstained),
        ]
        for header, found in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    ends = [", ".join(f"{name} {count}" for name, count in found.ended_by.items()) for _, found in rows]
    return "\n".join([*text, *(f"ended by: {end}" for end in ends if end)])


def fault_lines(records: Iterable[EvaluationRecord], most: int = 5) -> list[str]:
    """What faulted records say, each thing once."""
    said = {record.transcript.fault.message for record in records if record.transcript.fault}
    return [f"fault: {message}" for message in sorted(said)[:most]]


def _iou(record: EvaluationRecord) -> float:
    return temporal_iou([crop.span_s for crop in record.transcript.crops_ok()], record.segments)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
