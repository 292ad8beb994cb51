"""The real engine: vLLM samples the last turn of each trajectory and scores all of it."""

import json
import subprocess
import sys

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.testing.tiny_qwen3_vl import make_tiny_qwen3_vl


def verify(model, *arguments):
    """A process of its own: an engine leaves threads and children behind."""
    command = [sys.executable, "-m", "longvt_plugins.cli.main", "verify", str(model), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    report = json.loads(done.stdout[done.stdout.index('{\n  "ok"') :])
    return report, {finding["check"]: finding for finding in report["findings"]}


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("qwen3")
    make_tiny_qwen3_vl(folder, ["Question 1: which number is shown? [12.5 s] frames of 0 to 24 s."], hidden=64)
    return folder


@pytest.mark.full
@pytest.mark.parametrize("profile", ["frames-time", "longvt-compat", "native"])
def test_qwen2_5_vl(demo, profile):
    report, findings = verify(demo.folder / "model", "--profile", profile)
    assert report["ok"], report
    assert findings["log-probs"]["figures"]["mean_difference"] < 1e-4


@pytest.mark.full
@pytest.mark.parametrize("profile", ["frames-time", "native"])
def test_qwen3_vl(qwen3, profile):
    report, findings = verify(qwen3, "--profile", profile)
    assert report["ok"], report
    assert findings["log-probs"]["figures"]["mean_difference"] < 1e-4


def test_qwen3_vl_without_an_engine(qwen3):
    report, findings = verify(qwen3, "--profile", "native", "--engine", "scripted")
    assert report["ok"], report
    assert "1 videos" in findings["placeholders"]["detail"]


def test_what_is_no_checkpoint_is_refused(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "no config.json" in capsys.readouterr().err
