"""The stages of a run side by side: what each one's checkpoint answers, and what RL's rewards did. Markdown."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import TrajectoryRecord

from .compare import ONE_JUDGE
from .results import Header, differences, judges_of, read_result
from .summary import Summary

SUBJECTS = ("model:", "mode:")


@dataclass(frozen=True)
class Step:
    """Means over the trajectories of one RL step that were scored."""

    step: int
    trajectories: int
    score: float
    acc: float
    grounding: float
    format: float


def read_results(folders: Sequence[str | os.PathLike[str]]) -> list[tuple[Header, Summary]]:
    """Results that may stand in one table.

    Raises:
        ConfigError: two differ in more than model and mode, one is not finished, or more than one judge decided
            answers.
        DataError: a folder holds no result.
    """
    found: list[tuple[Header, Summary]] = []
    judges: dict[str, str | os.PathLike[str]] = {}
    for folder in folders:
        header, records = read_result(folder)
        # Of the same name, if there is one: only those must have the same weights.
        like = next((n for n, (h, _) in enumerate(found) if h.model == header.model), 0)
        first = found[like][0] if found else header
        unlike = [line for line in differences(first, header) if not line.startswith(SUBJECTS)]
        if unlike:
            rule = f"is unlike {folders[like]}: {'; '.join(unlike)}"
            raise ConfigError(str(folder), rule, "Evaluate every stage in the same way.")
        if len(records) < header.questions:
            rule = f"has {len(records)} of {header.questions} questions"
            raise ConfigError(str(folder), rule, "Finish it: run its 'longvt evaluate' again.")
        judges = {judge: folder for judge in sorted(judges_of(records.values()))} | judges
        if len(judges) > 1:
            shown = "; ".join(f"{where} by {judge}" for judge, where in judges.items())
            raise ConfigError(str(folder), f"was not judged by the judge of all: {shown}", ONE_JUDGE)
        found.append((header, Summary.of(records.values(), header.questions)))
    return found


def read_steps(folder: str | os.PathLike[str]) -> list[Step]:
    """RL's training steps from its trajectories, in order.

    Raises:
        ConfigError: there are none.
    """
    if not Path(folder, "train").is_dir():
        raise ConfigError(str(folder), "holds no train trajectories", "Name the trajectories of a longvt_sync run.")
    by_step: dict[int, list[TrajectoryRecord]] = defaultdict(list)
    for record in trajectory_log.read(folder, "train"):
        if not (record.reward.abstained or record.reward.faulted):
            by_step[record.step].append(record)
    return [_step(number, records) for number, records in sorted(by_step.items())]


def results_table(results: Iterable[tuple[Header, Summary]]) -> str:
    titles = ("checkpoint", "mode", "questions", "accuracy", "format", "tool use", "mIoU", "faulted", "abstained")
    rows = [
        (h.model, h.mode, s.questions, s.accuracy, s.format, s.tool_use, s.miou, s.faulted, s.abstained)
        for h, s in results
    ]
    return _markdown(titles, rows)


def steps_table(steps: Iterable[Step]) -> str:
    titles = ("step", "trajectories", "reward", "accuracy", "grounding", "format")
    return _markdown(titles, [(s.step, s.trajectories, s.score, s.acc, s.grounding, s.format) for s in steps])


def _step(number: int, records: list[TrajectoryRecord]) -> Step:
    rewards = [record.reward for record in records]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else 0.0

    return Step(
        step=number,
        trajectories=len(rewards),
        score=mean([reward.score for reward in rewards]),
        acc=mean([reward.acc for reward in rewards if reward.acc is not None]),
        grounding=mean([reward.grounding for reward in rewards if reward.grounding is not None]),
        format=mean([reward.format for reward in rewards]),
    )


def _markdown(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
