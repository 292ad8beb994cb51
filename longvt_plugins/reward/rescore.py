"""Score finished rollouts again, with another judge, without rolling out. The dump is what ``longvt_sync`` wrote.

Only the answer part can change: what a rule decided stays as it is, what the judge decided (or nobody could) is asked
of the new judge. Format, grounding and tool use were measured on the transcript and stay. With the same judge and its
ledger nothing is asked, and the result equals the dump bit for bit.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import RewardRecord, TrajectoryRecord

from .answer import read_answer
from .config import RewardConfig
from .grade import UNDECIDED, references_of
from .judge import Judge
from .score import broken_note, settled, with_score

_NOTE = re.compile(re.escape(broken_note(0)).replace("0", r"\d+"))


def read_dump(path: str | Path) -> Iterator[TrajectoryRecord]:
    """Trajectories of a JSON-lines file, of a folder of them, or of a trainer's folder, in order.

    Raises:
        ConfigError: there is none.
        DataError: a line is none.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.rglob("step_*.jsonl"))
    if not files:
        raise ConfigError(str(path), "holds no trajectories (step_*.jsonl)", "Name a folder that longvt_sync wrote.")
    for file in files:
        yield from trajectory_log.read_file(file)


async def rescore(
    records: Iterable[TrajectoryRecord], judge: Judge, config: RewardConfig | None = None
) -> list[TrajectoryRecord]:
    """The same trajectories with the rewards that ``judge`` leads to.

    Args:
        config: the run's, with its weights and ``on_abstain``.

    Raises:
        ConfigError: ``config`` does not give the scores that the dump holds.
        JudgeError: the judge leaves an answer open, and ``config.on_abstain`` is ``raise``; or its breaker is open.
    """
    config = config or RewardConfig()
    return list(await asyncio.gather(*(_rescored(record, judge, config) for record in records)))


async def _rescored(record: TrajectoryRecord, judge: Judge, config: RewardConfig) -> TrajectoryRecord:
    reward = record.reward
    again = with_score(reward, config, record.data_source)
    if not math.isclose(again.score, reward.score, abs_tol=1e-6):
        raise ConfigError(
            f"a trajectory with score {reward.score:g}",
            f"has {again.score:g} with these weights",
            "Pass the run's reward_kwargs with --reward.",
        )
    if not _was_open(reward):
        return record
    said = [turn.text for turn in record.transcript.turns if turn.role == "assistant"]
    prediction, _ = read_answer(said[-1])
    verdict = await judge.verdict(record.question, " | ".join(references_of(record.ground_truth)), prediction)
    note = _NOTE.search(reward.reason)
    acc, reason = settled(verdict.score, verdict.reason + (note[0] if note else ""), config)
    changed = reward.model_copy(
        update={
            "acc": acc,
            "abstained": acc is None,
            "decided_by": "judge" if verdict.status == "ok" else "nobody",
            "judge_id": verdict.judge_id,
            "verdict_key": verdict.key,
            "reason": reason,
            "stop": False,
        }
    )
    return record.model_copy(update={"reward": with_score(changed, config, record.data_source)})


def _was_open(reward: RewardRecord) -> bool:
    """Whether the judge decided the answer, or would have been asked."""
    if reward.decided_by == "judge" or reward.stop:
        return True
    return reward.decided_by == "nobody" and (bool(reward.judge_id) or reward.reason.startswith(UNDECIDED))
