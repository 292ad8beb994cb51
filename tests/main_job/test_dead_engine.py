"""The rollout engine dies in the middle of a step: the run ends with the reason, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.demo_footage import prepare
from longvt_plugins.launch.processes import descendants
from longvt_plugins.testing.processes import mentioning
from longvt_plugins.trainer import progress

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]
FILTERED = ("algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=acc")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Whole footage: the run that the checkpoint comes from has lost a video."""
    folder = tmp_path_factory.mktemp("data")
    prepare(folder)
    return folder


@pytest.mark.parametrize("overrides", [(), FILTERED], ids=["all groups", "filtered groups"])
def test_a_killed_engine_ends_the_run(run, data, tmp_path, overrides):
    command = [sys.executable, "-m", "longvt_plugins.cli.main", "watch", "--folder", str(tmp_path)]
    command += ["--log", str(tmp_path / "log"), "--idle", "300", "--"]
    command += [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo", *overrides]
    command += [f"longvt.run={run.folder}", f"data.longvt.video_root={data}"]
    command += [f"data.train_files={data}/train.parquet", f"data.val_files={data}/val.parquet"]
    command += [f"trainer.default_local_dir={tmp_path}", "trainer.val_before_train=false"]
    command += ["trainer.total_training_steps=30", "trainer.save_freq=-1"]
    watch = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        while not in_rollouts_of_step_2(tmp_path):
            assert watch.poll() is None, watch.stdout.read()
            time.sleep(0.02)
        (engine,) = mentioning("EngineCore").keys() & set(descendants(watch.pid))
        os.kill(engine, signal.SIGKILL)
        said, _ = watch.communicate(timeout=280)
    finally:
        if watch.poll() is None:
            watch.terminate()
            watch.wait()
    assert watch.returncode == 1
    assert "RolloutError" in said and "trajectories" in said and "EngineDeadError" in said, said
    assert "stalled" not in said
    assert not descendants(watch.pid)


def in_rollouts_of_step_2(folder: Path) -> bool:
    record = progress.read(folder / progress.FILE_NAME)
    return record is not None and record["step"] >= 2 and record["phase"] == "rollouts"
