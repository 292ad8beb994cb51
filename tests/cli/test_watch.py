"""The watchdog, on real processes: progress, failure, stall, and that nothing survives."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.launch.log import explain
from longvt_plugins.testing.processes import mentioning

# A trainer that reports one phase, leaves a daemon behind (new session, parent gone), and then hangs.
STALLS = """
import os, subprocess, sys, time
from longvt_plugins.trainer.progress import Progress
Progress(sys.argv[1])("weight sync", 2, 4)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    os._exit(0)
time.sleep(600)
"""


def watch(tmp_path: Path, *command: str, idle: float = 2.0) -> subprocess.CompletedProcess:
    arguments = [
        "watch",
        "--folder",
        str(tmp_path),
        "--log",
        str(tmp_path / "log"),
        "--idle",
        str(idle),
        "--",
        *command,
    ]
    return subprocess.run(
        [sys.executable, "-m", "longvt_plugins.cli.main", *arguments], capture_output=True, text=True, timeout=120
    )


def test_a_stalled_run_is_ended_with_a_message_and_no_process_left(tmp_path):
    done = watch(tmp_path, sys.executable, "-c", STALLS, str(tmp_path))
    assert done.returncode == 1
    assert "step 2/4: weight sync" in done.stdout
    assert "stalled: no new phase for 2 s in 'weight sync'; ended 2 processes" in done.stdout
    assert mentioning(str(tmp_path)) == {}


def test_a_run_that_never_reports_is_ended_too(tmp_path):
    done = watch(tmp_path, sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path))
    assert done.returncode == 1 and "in 'start-up'" in done.stdout
    assert mentioning(str(tmp_path)) == {}


def test_progress_keeps_a_slow_run_alive(tmp_path):
    code = (
        "import sys, time\nfrom longvt_plugins.trainer.progress import Progress\np = Progress(sys.argv[1])\n"
        "for step in range(4):\n    p('rollouts', step, 4); time.sleep(1.2)\n"
    )
    done = watch(tmp_path, sys.executable, "-c", code, str(tmp_path))
    assert done.returncode == 0 and "finished after" in done.stdout
    assert "step 3/4: rollouts" in done.stdout


def test_a_failure_shows_its_traceback(tmp_path):
    done = watch(tmp_path, sys.executable, "-c", "raise RuntimeError('no kernel image')")
    assert done.returncode == 1
    assert "failed with exit code 1" in done.stdout and "RuntimeError: no kernel image" in done.stdout


def test_a_missing_command_is_a_usage_error(tmp_path):
    done = watch(tmp_path, "no-such-trainer")
    assert done.returncode == 2 and "no-such-trainer: is not a command" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--folder", ".", "--log", "file/x.log", "--", "true"], "file: cannot be written (File exists)"),
        (["--folder", "file", "--log", "log", "--", "true"], "file/progress.json: cannot be written (Not a directory)"),
        (["--folder", ".", "--log", "log", "--", "./file"], "./file: is not a command (Permission denied)"),
    ],
)
def test_what_cannot_be_run_or_written_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *words]) == 2
    assert capsys.readouterr().err.startswith(f"longvt watch: {says}")


def test_interrupting_the_watch_ends_the_run(tmp_path):
    arguments = ["--folder", str(tmp_path), "--log", str(tmp_path / "log"), "--", sys.executable, "-c", STALLS]
    process = subprocess.Popen(
        [sys.executable, "-m", "longvt_plugins.cli.main", "watch", *arguments, str(tmp_path)], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "progress.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=60) != 0
    assert mentioning(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("a\nTraceback (most recent call last):\n  File x\nDataError: row 3\nadvice\n", "DataError: row 3"),
        ("a.b.PluginError: outer\n\x1b[36m(Task pid=7)\x1b[0m ValueError: inner\n", "a.b.PluginError: outer"),
        ("\x1b[36m(Task pid=7)\x1b[0m ValueError: inner\n", "ValueError: inner"),
        ("only\nwords\n", "words"),
        ("", ""),
    ],
)
def test_explain_finds_the_error(tmp_path, log, says):
    (tmp_path / "log").write_text(log)
    assert says in explain(tmp_path / "log")
