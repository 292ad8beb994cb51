"""`make pipeline-demo`, whole, and once more with everything killed at four points: the same artefacts at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from longvt_plugins.evaluation.report import read_steps
from longvt_plugins.trainer import progress

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]
COMMAND = ["bash", "runs/pipeline.sh", "demo"]
TABLE_ROWS = 9


def start(folder: Path) -> subprocess.Popen:
    output = (folder.parent / f"{folder.name}.log").open("a")
    return subprocess.Popen(
        [*COMMAND, str(folder)], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def artefacts(folder: Path) -> set[str]:
    """Names of all files that the stages say they made."""
    names = set()
    for stamp in (folder / "stages").glob("*.json"):
        record = json.loads(stamp.read_text())
        assert record["state"] == "done", stamp
        names |= {os.path.relpath(name, folder) for name in record["outputs"]}
    return names


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "whole"
    assert start(folder).wait(timeout=3600) == 0, (folder.parent / "whole.log").read_text()[-3000:]
    return folder


def at_step(folder: Path, step: int) -> bool:
    at = progress.read(folder / "rl" / progress.FILE_NAME)
    return bool(at) and at["step"] >= step


POINTS = {
    "SFT after its first checkpoint": lambda folder: (folder / "sft" / "checkpoint-100").is_dir(),
    "RL in its third step": lambda folder: at_step(folder, 3),
    "RL after its first checkpoint": lambda folder: at_step(folder, 11),
    "the first evaluation": lambda folder: (folder / "evaluation" / "sft" / "crops" / "header.json").exists(),
}


def test_every_stage_ran_and_is_in_the_table(whole):
    table = (whole / "report" / "table.md").read_text().split("\n\n")[0].splitlines()
    assert len(table) == 2 + TABLE_ROWS
    assert (whole / "report" / "plot.png").stat().st_size > 5000
    for line in table[2:]:
        assert line.strip("| ").split(" | ")[7] == "0", "questions faulted"


def test_nine_in_ten_rollouts_after_sft_have_the_form(whole):
    assert read_steps(whole / "rl" / "trajectories")[0].format >= 0.9


def test_again_it_does_nothing(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert start(whole).wait(timeout=600) == 0
    after = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    assert before == after


def test_killed_at_any_point_it_finishes_with_the_same_artefacts(whole, tmp_path):
    folder = tmp_path / "killed"
    for name, reached in POINTS.items():
        run = start(folder)
        while not reached(folder):
            assert run.poll() is None, f"ended before {name}"
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert start(folder).wait(timeout=3600) == 0, (tmp_path / "killed.log").read_text()[-3000:]
    assert artefacts(folder) == artefacts(whole)
