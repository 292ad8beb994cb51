"""The one real run: footage, teaching, then unmodified ``main_ppo`` on the CPU with faults planted.

A quarter of the rows has an answer that neither a rule nor the judge can decide (they must abstain). Half of them
needs the judge, a scripted one on a socket, which dies while step 2 rolls out and is back before step 3. One video of
the training split vanishes while the run is in its first rollouts (its trajectories must fault). The policy was taught
to crop twice at once now and then, and to make mistakes, in responses too short for that. Many tests read what is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.datasets.schema import RL_SCHEMA
from longvt_plugins.reward.ledger import Ledger, LedgerEntry
from longvt_plugins.testing.judge_server import JudgeServer
from longvt_plugins.testing.processes import mentioning
from longvt_plugins.trainer import progress, trajectory_log
from longvt_plugins.types import TrajectoryRecord

ROOT = Path(__file__).parents[2]
STEPS = 3
VANISHING = "street_1.mp4"
OUTAGE_STEP = 2
UNDECIDABLE = "the one of the cyclist"


class Judge(JudgeServer):
    """Right when the answer is a part of the reference; never decides about the cyclist."""

    async def _answer(self, writer, fault, texts):
        return await super()._answer(writer, "reply_not_json" if texts[1] == UNDECIDABLE else fault, texts)


@dataclass(frozen=True)
class Run:
    folder: Path
    code: int
    output: str
    left_running: list[str]
    asked_after_the_outage: int
    """Questions that reached the judge once it was back."""

    def verdicts(self) -> dict[str, list[LedgerEntry]]:
        """What the judge's ledger holds, by key."""
        found: dict[str, list[LedgerEntry]] = {}
        for entry in Ledger(self.folder / "verdicts.jsonl").entries():
            found.setdefault(entry.key, []).append(entry)
        return found

    def trajectories(self, split: str) -> list[TrajectoryRecord]:
        return list(trajectory_log.read(self.folder / "train" / "trajectories", split))

    def metrics(self) -> dict[int, dict[str, float]]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return {record["step"]: record["data"] for record in map(json.loads, lines)}


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"), "PYTHONPATH": str(ROOT)}
    _python(["-m", "data_prep.demo_footage", f"{folder}/data"], environment)
    _python(["-m", "longvt_plugins.testing.teach", "longvt_demo", f"longvt.run={folder}", "--mixed"], environment)
    _make_rules_fail(folder / "data" / "train.parquet")
    judge = Judge(score=lambda question, reference, answer: float(answer.casefold() in reference))
    judge.start()
    command = ["-m", "longvt_plugins.cli.main", "watch", "--folder", f"{folder}/train", "--log", f"{folder}/log"]
    command += ["--idle", "300", "--", sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo"]
    command += [f"longvt.run={folder}", f"trainer.total_training_steps={STEPS}", "trainer.save_freq=1"]
    # Two crops at once, or one after a mistake, do not fit as they are.
    command += ["data.max_response_length=320"]
    # Large enough that three steps change the policy measurably, and not so large that they ruin it.
    command += ["actor_rollout_ref.actor.optim.lr=2.0e-4"]
    how = f"endpoints:[{judge.url}],ledger:{folder}/verdicts.jsonl,deadline_s:1.5,unparsable_replies:1"
    command += [f"+reward.custom_reward_function.reward_kwargs.judge={{{how}}}"]
    watch = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    file = folder / "train" / progress.FILE_NAME
    _wait_for(watch, file, lambda at: at["phase"] == "validation rollouts")
    (folder / "data" / VANISHING).unlink(missing_ok=True)
    asked: list[int] = []
    outage = threading.Thread(target=_outage, args=(judge, watch, file, asked))
    outage.start()
    output, _ = watch.communicate(timeout=1200)
    outage.join()
    judge.stop()
    after = len(judge.asked) - asked[0] if asked else 0
    return Run(folder, watch.returncode, output, list(mentioning(str(folder)).values()), after)


def _python(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)


def _make_rules_fail(parquet: Path) -> None:
    """Ground truths in other words than the policy was taught, without options."""
    rows = pq.read_table(parquet).to_pylist()
    for number, row in enumerate(rows):
        colour = row["reward_model"]["ground_truth"]
        if number % 4:
            row["reward_model"]["ground_truth"] = UNDECIDABLE if number % 4 == 2 else f"a square, {colour}"
            row["extra_info"]["options"] = []
    pq.write_table(pa.Table.from_pylist(rows, schema=RL_SCHEMA), parquet)


def _outage(judge: JudgeServer, watch: subprocess.Popen, file: Path, asked: list[int]) -> None:
    _wait_for(watch, file, lambda at: at["step"] == OUTAGE_STEP and at["phase"] == "rollouts")
    judge.stop()
    _wait_for(watch, file, lambda at: at["step"] == OUTAGE_STEP and at["phase"] != "rollouts")
    asked.append(len(judge.asked))
    judge.start()


def _wait_for(process: subprocess.Popen, file: Path, reached) -> None:
    while process.poll() is None and not ((at := progress.read(file)) and reached(at)):
        time.sleep(0.02)
