"""The one real run: footage, teaching, then unmodified ``main_ppo`` on the CPU with two faults planted.

Some rows have an answer that no rule can decide (they must abstain), and one video of the training split
vanishes while the run is in its first rollouts (its trajectories must fault). Many tests read what is left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.datasets.schema import RL_SCHEMA
from longvt_plugins.trainer import progress, trajectory_log
from longvt_plugins.types import TrajectoryRecord

ROOT = Path(__file__).parents[2]
STEPS = 3
VANISHING = "street_1.mp4"


@dataclass(frozen=True)
class Run:
    folder: Path
    code: int
    output: str
    left_running: list[str]

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
    _make_some_rows_undecidable(folder / "data" / "train.parquet")
    _python(["-m", "longvt_plugins.testing.teach", "longvt_demo", f"longvt.run={folder}"], environment)
    command = ["-m", "longvt_plugins.cli.main", "watch", "--folder", f"{folder}/train", "--log", f"{folder}/log"]
    command += ["--idle", "300", "--", sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo"]
    command += [f"longvt.run={folder}", f"trainer.total_training_steps={STEPS}", "trainer.save_freq=1"]
    # Large enough that three steps change the policy measurably, and not so large that they ruin it.
    command += ["actor_rollout_ref.actor.optim.lr=2.0e-4"]
    watch = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _wait_for_phase("validation rollouts", folder / "train" / progress.FILE_NAME, watch)
    (folder / "data" / VANISHING).unlink(missing_ok=True)
    output, _ = watch.communicate(timeout=1200)
    return Run(folder, watch.returncode, output, _mentioning(str(folder)))


def _python(arguments: list[str], environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)


def _make_some_rows_undecidable(parquet: Path) -> None:
    rows = pq.read_table(parquet).to_pylist()
    for row in rows[2::4]:
        row["reward_model"]["ground_truth"] = "the one of the cyclist"
        row["extra_info"]["options"] = []
    pq.write_table(pa.Table.from_pylist(rows, schema=RL_SCHEMA), parquet)


def _wait_for_phase(phase: str, file: Path, process: subprocess.Popen) -> None:
    while process.poll() is None and (progress.read(file) or {}).get("phase") != phase:
        time.sleep(0.2)


def _mentioning(text: str) -> list[str]:
    """Command lines of processes, other than this one, that mention ``text``."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and int(entry) != os.getpid():
            found.append(command)
    return found
