"""A server that does not come up says why, and no server outlives what it was started for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import StageError
from longvt_plugins.pipeline import serve
from longvt_plugins.pipeline.serve import served

ROOT = Path(__file__).parents[2]
SLEEP = 'echo $$ > "$(dirname "$0")/pid"; exec sleep 300'


@pytest.mark.full
def test_a_checkpoint_that_is_none_is_the_reason(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StageError, match="ended with exit code"), served(tmp_path, "x", tmp_path / "log"):
        pass


def test_options_with_an_open_quote_are_one_line(tmp_path, capsys):
    words = ["--checkpoint", "m", "--name", "m", "--log", str(tmp_path / "log"), "--vllm=--a 'b", "--", "true"]
    assert main(["serve", *words]) == 2
    assert capsys.readouterr().err.startswith("longvt serve: --vllm --a 'b: cannot be split (No closing quotation)")


def test_a_command_that_is_none_is_named_before_the_server_starts(tmp_path, capsys):
    words = ["--checkpoint", "m", "--name", "m", "--log", str(tmp_path / "log"), "--", "no-such-command"]
    assert main(["serve", *words]) == 2
    assert "no-such-command: is not a command" in capsys.readouterr().err and not (tmp_path / "log").exists()


def test_a_server_that_ends_is_named_with_its_log(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "echo no room for the KV cache; exit 3")
    said = "(?s)ended with exit code 3.*no room for the KV cache"
    with pytest.raises(StageError, match=said), served("m", "m", tmp_path / "log"):
        raise AssertionError("it never answers")


def test_a_server_that_never_answers_is_ended(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, SLEEP)
    with pytest.raises(StageError, match="was not healthy after 1 s"), served("m", "m", tmp_path / "log", (), 1):
        raise AssertionError("it never answers")
    assert not alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_does_not_outlive_who_started_it(tmp_path, number):
    """Told to end, or killed: the kernel tells the server."""
    script = tmp_path / "starts.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from longvt_plugins.pipeline import serve\n"
        "serve.sys.executable = sys.argv[2]\n"
        "with serve.served('m', 'm', Path(sys.argv[1], 'log'), (), 60): pass\n"
    )
    pid = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), str(write(tmp_path, SLEEP))], cwd=ROOT, env=environment
    )
    until(lambda: pid.exists() and pid.read_text())
    os.kill(starter.pid, number)
    starter.wait(60)
    until(lambda: not alive(int(pid.read_text())))


def write(folder: Path, script: str) -> Path:
    """A program that stands where ``python -m vllm...`` stands; its folder is ``$0``'s."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def program(folder: Path, monkeypatch, script: str) -> None:
    monkeypatch.setattr(serve.sys, "executable", str(write(folder, script)))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
