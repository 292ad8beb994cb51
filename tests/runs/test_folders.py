"""Which folders the scripts take, before they do anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STOPPED = 3


@pytest.fixture
def demo(tmp_path):
    """``demo.sh``, run where the first thing that it starts ends it."""
    for folder in ("runs", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "runs" / "demo.sh", tmp_path / "runs")
    (tmp_path / ".venv" / "bin" / "python").write_text(f"#!/bin/sh\nexit {STOPPED}\n")
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)

    def run(folder: Path) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", str(tmp_path / "runs" / "demo.sh"), str(folder)], capture_output=True, text=True)

    return run


@pytest.mark.parametrize("name", ["a b", "a*", "a,b", "a=b", "{a}"])
def test_a_run_whose_name_is_syntax_is_refused(tmp_path, name):
    command = ["bash", "runs/pipeline.sh", "demo", str(tmp_path / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and name in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_percent_sign_in_a_runs_name_stays_as_it_is(tmp_path):
    for folder in ("runs", ".venv/bin", "100%s/report"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "runs" / "pipeline.sh", tmp_path / "runs")
    (tmp_path / "100%s" / "report" / "table.md").touch()
    (tmp_path / ".venv" / "bin" / "longvt").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> calls\n')
    (tmp_path / ".venv" / "bin" / "longvt").chmod(0o755)
    subprocess.run(["bash", str(tmp_path / "runs" / "pipeline.sh"), "7b", "100%s"], check=True)
    report = (tmp_path / "calls").read_text().splitlines()[-1]
    results = [word for word in report.partition("--inputs")[2].partition("--outputs")[0].split() if "/eval" in word]
    assert len(results) == 9 and all(word.startswith("100%s/evaluation/") for word in results)


def test_the_demo_removes_no_folder_of_others(demo, tmp_path):
    mine = tmp_path / "mine"
    for name in ("data", "train", "model"):
        (mine / name).mkdir(parents=True)
    (mine / "data" / "train.parquet").write_text("mine")
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (mine, file):
        done = demo(path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and str(path) in done.stderr
    assert (mine / "data" / "train.parquet").read_text() == file.read_text() == "mine"


def test_the_demo_begins_anew_in_its_own_folder(demo, tmp_path):
    for folder in (tmp_path / "absent", tmp_path / "empty", tmp_path / "with a space"):
        if folder.name == "empty":
            folder.mkdir()
        for _ in range(2):
            assert demo(folder).returncode == STOPPED
            assert [path.name for path in folder.iterdir()] == [".longvt_demo"]
            (folder / "metrics.jsonl").write_text("old")


def test_the_demo_knows_the_folder_of_a_version_without_a_marker(demo, tmp_path):
    old = tmp_path / "old"
    (old / "data").mkdir(parents=True)
    for name in ("data/train.parquet", "teach.log", "main_ppo.log"):
        (old / name).write_text("old")
    assert demo(old).returncode == STOPPED
    assert [path.name for path in old.iterdir()] == [".longvt_demo"]
