"""What a user gets wrong: one clear message, a non-zero exit code, nothing left running."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def train(demo, tmp_path: Path, *overrides: str, path: Path = ROOT) -> subprocess.CompletedProcess:
    """``main_ppo`` under ``longvt watch``."""
    command = [
        "-m",
        "longvt_plugins.cli.main",
        "watch",
        "--folder",
        str(tmp_path),
        "--log",
        str(tmp_path / "log"),
        "--",
    ]
    command += [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo", *demo.overrides]
    command += [f"trainer.default_local_dir={tmp_path}", *overrides]
    env = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600
    )


def left_running(marker: str) -> bool:
    done = subprocess.run(["pgrep", "-f", marker], capture_output=True, text=True)
    return done.returncode == 0


def test_a_missing_video_names_the_rows(demo, tmp_path):
    done = train(demo, tmp_path, f"data.longvt.video_root={tmp_path}/elsewhere")
    assert done.returncode == 1
    assert "DataError" in done.stdout and "row 0: " in done.stdout and "street_0.mp4: cannot be read" in done.stdout
    assert "video_root" in done.stdout
    assert not left_running(str(tmp_path))


def test_a_broken_plugin_stops_the_run_with_its_traceback(demo, tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "longvt_plugins", tmp_path / "longvt_plugins", symlinks=False, ignore=ignored)
    with (tmp_path / "longvt_plugins" / "trainer" / "longvt_sync.py").open("a") as module:
        module.write("\nraise RuntimeError('planted in the trainer')\n")
    done = train(demo, tmp_path, path=tmp_path)
    assert done.returncode == 1
    assert "planted in the trainer" in done.stdout and "longvt_plugins.trainer.longvt_sync" in done.stdout
    assert not left_running(str(tmp_path / "log"))


@pytest.mark.parametrize("arguments", [(), ("--gpu",)])
def test_the_installer_refuses_what_it_cannot_use(tmp_path, arguments):
    python = tmp_path / "python3.10"
    python.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.10.1\nexit 1\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    env = {**os.environ, "PYTHON": str(python)}
    command = ["bash", str(ROOT / "constraints" / "install.sh"), *arguments, str(tmp_path / "venv")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "venv").exists()
    expected = (
        "unknown option --gpu" if arguments else "found 'Python 3.10.1'; this environment needs Python 3.11 or 3.12"
    )
    assert expected in done.stderr
