"""What a run did, from the files that ``longvt_sync`` wrote."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from longvt_plugins.cli import Outcome
from longvt_plugins.errors import ConfigError
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import TrajectoryRecord

COLUMNS = ("score", "acc", "format", "grounding", "calls", "crops", "excluded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="the trainer's folder (trainer.default_local_dir)")


def run(args: argparse.Namespace) -> Outcome:
    folder = args.folder / "trajectories"
    if not folder.is_dir():
        raise ConfigError(str(args.folder), "holds no trajectories", "Name the folder of a longvt_sync run.")
    rows = []
    for split in ("val", "train"):
        by_step: dict[int, list[TrajectoryRecord]] = defaultdict(list)
        for record in trajectory_log.read(folder, split):
            by_step[record.step].append(record)
        rows += [{"split": split, "step": step, **summarise(records)} for step, records in sorted(by_step.items())]
    total = sum(row["trajectories"] for row in rows)
    text = "\n".join([_line(("split", "step", "n", *COLUMNS)), *(_line(_cells(row)) for row in rows)])
    text += f"\n{total} trajectories in {folder}"
    return Outcome(ok=total > 0, text=text, data={"folder": str(folder), "trajectories": total, "steps": rows})


def summarise(records: list[TrajectoryRecord]) -> dict[str, float | int | None]:
    """Means over the trajectories for which a part applies; ``None`` where it applies to none."""
    rewards = [record.reward for record in records]
    judged = [reward for reward in rewards if not (reward.abstained or reward.faulted)]
    return {
        "trajectories": len(records),
        "score": _mean([reward.score for reward in judged]),
        "acc": _mean([reward.acc for reward in judged]),
        "format": _mean([reward.format for reward in judged]),
        "grounding": _mean([reward.grounding for reward in judged if reward.grounding is not None]),
        "calls": sum(reward.tool_calls for reward in rewards),
        "crops": sum(reward.crops_ok for reward in rewards),
        "excluded": len(rewards) - len(judged),
    }


def _mean(values: list) -> float | None:
    return sum(values) / len(values) if values else None


def _cells(row: dict) -> tuple[str, ...]:
    values = [row["split"], row["step"], row["trajectories"], *(row[name] for name in COLUMNS)]
    return tuple("-" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in values)


def _line(cells: tuple[str, ...]) -> str:
    return "".join(f"{cell:>11}" for cell in cells)
