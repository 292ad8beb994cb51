"""The doctor on this environment, and on broken ones."""

import json
from pathlib import Path

from longvt_plugins.cli import doctor
from longvt_plugins.cli.main import main


def test_a_sound_installation_passes(capsys):
    assert main(["doctor", "--json"]) == 0, capsys.readouterr().out


def test_what_is_broken_is_named_and_nothing_else(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "PINS", {**doctor.PINS, "verl": "0.0.1"})
    monkeypatch.setenv("VERL_USE_EXTERNAL_PLUGINS", "other")
    for slow in ("every registered part loads in verl", "recipes resolve by name"):
        monkeypatch.setitem(doctor.CHECKS, slow, lambda: None)
    assert main(["doctor", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    broken = {name: problem for name, problem in checks.items() if problem}
    assert set(broken) == {"pinned versions", "entry point verl.plugins"}
    assert "verl is 0.9.1, tested with 0.0.1" in broken["pinned versions"]
    assert "unset it" in broken["entry point verl.plugins"]


def test_the_pins_are_those_of_the_lock():
    lock = (Path(__file__).parents[2] / "constraints" / "common.txt").read_text().splitlines()
    for name, version in doctor.PINS.items():
        assert f"{name}=={version}" in lock
