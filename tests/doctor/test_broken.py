"""Broken set-ups: each broken thing is named, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from longvt_plugins.testing.judge_server import JudgeServer

from .broken import BROKEN

ROOT = Path(__file__).parents[2]
QUICK = "python,packages,versions,duplicates,engine,entry-point,shared-memory,clip-store"


def doctor(*arguments: str, site: Path | None = None, variables: dict[str, str] | None = None) -> list[dict]:
    """Findings of ``longvt doctor`` in a process of its own."""
    environment = {**os.environ, "VERL_PLATFORM": "cpu", **(variables or {})}
    environment["PATH"] = os.pathsep.join(filter(None, [(variables or {}).get("PATH"), os.environ["PATH"]]))
    environment["PYTHONPATH"] = os.pathsep.join(map(str, filter(None, [site, ROOT])))
    command = [sys.executable, "-m", "longvt_plugins.cli.main", "doctor", "--json", *arguments]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] == (not answer["findings"]) == (done.returncode == 0)
    return answer["findings"]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_broken_thing_is_named_and_nothing_else(broken, tmp_path):
    variables = broken.prepare(tmp_path)
    only = f"{QUICK},{broken.finding}"
    (finding,) = doctor("--only", only, site=tmp_path, variables=variables)
    assert finding["name"] == broken.finding
    assert broken.said in " ".join(finding.values()) and finding["remedy"]


@pytest.mark.full
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_it_is_so_with_every_check(broken, tmp_path):
    variables = broken.prepare(tmp_path)
    assert [finding["name"] for finding in doctor(site=tmp_path, variables=variables)] == [broken.finding]


def test_a_judge_that_is_down():
    with JudgeServer() as server:
        url = server.url
    (finding,) = doctor("--only", f"{QUICK},judge", "--judge", url)
    assert finding["name"] == "judge" and "is no judge" in finding["why"]


def test_a_judge_that_answers_garbage():
    with JudgeServer(fault_rate=1.0, faults=["reply_not_json"]) as server:
        (finding,) = doctor("--only", f"{QUICK},judge", "--judge", server.url)
    assert finding["name"] == "judge" and "agrees with 0%" in finding["why"]
