"""What the doctor says beyond single checks: skipped checks, checks that crash, facts, options."""

import json
from pathlib import Path

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.doctor import examine, media, packages
from longvt_plugins.doctor.child import look
from longvt_plugins.doctor.examine import NAMES, Check, Options, choose
from longvt_plugins.errors import CheckError, ConfigError
from longvt_plugins.launch.finding import Finding


def results(monkeypatch, *checks: Check) -> list[examine.Result]:
    monkeypatch.setattr(examine, "CHECKS", checks)
    return list(examine.examine(Options(), [check.name for check in checks]))


def fault(name: str):
    return lambda options: iter([Finding(name, "what", "why", "remedy")])


def test_what_builds_on_a_fault_is_skipped_and_so_is_what_builds_on_that(monkeypatch):
    made = results(
        monkeypatch,
        Check("first", "", fault("first")),
        Check("second", "", fault("second"), ("first",)),
        Check("third", "", fault("third"), ("second",)),
        Check("other", "", lambda options: iter(["a fact"])),
    )
    assert [[finding.name for finding in result.findings] for result in made] == [["first"], [], [], []]
    assert [result.skipped for result in made] == ["", "after first", "after second", ""]
    assert made[-1].facts == ["a fact"]


def test_a_check_that_cannot_be_made_is_a_finding(monkeypatch):
    (made,) = results(monkeypatch, Check("fails", "about", lambda options: iter([1 / 0])))
    (finding,) = made.findings
    assert finding.name == "fails" and "ZeroDivisionError" in finding.why


def test_a_crash_a_hang_and_an_exception_cost_only_the_child():
    for function, arguments, said in (
        ("abort", [], "exit code -6"),
        ("kill", [0, 99], "OSError"),
    ):
        with pytest.raises(CheckError, match=said):
            look("os", function, *arguments, limit_s=60, remedy="")
    with pytest.raises(CheckError, match="no answer within 1 s"):
        look("time", "sleep", 60, limit_s=1, remedy="")
    assert look("os.path", "join", "a", "b", limit_s=60, remedy="") == "a/b"


def test_options_choose_checks():
    assert choose(Options()) == [name for name in NAMES if name not in ("judge", "cluster")]
    assert {"ray-actor", "vllm-process"}.isdisjoint(choose(Options(), quick=True))
    assert choose(Options(ray="auto")) == ["cluster"]
    assert choose(Options(ray="auto", judge="x")) == ["judge", "cluster"]
    assert choose(Options(), ["gpu", "python"]) == ["python", "gpu"]


@pytest.mark.parametrize(
    ("options", "only", "quick", "remedy"),
    [
        (Options(), ["judge"], False, "--judge URL"),
        (Options(), ["python", "cluster"], False, "--ray ADDRESS"),
        (Options(ray="auto"), ["python"], False, "Leave --ray out"),
        (Options(), ["ray-actor"], True, "Leave --quick out"),
        (Options(nodes=2), [], False, "--nodes: .*--ray ADDRESS"),
        (Options(wait_s=5.0, paths=("/data",)), ["python"], False, "--wait, --path: .*--ray ADDRESS"),
    ],
)
def test_what_would_check_nothing_is_refused(options, only, quick, remedy):
    with pytest.raises(ConfigError, match=remedy):
        choose(options, only, quick)


def test_decoders_are_told_with_what_they_read():
    told = [fact for fact in media.decoders() if isinstance(fact, str)]
    assert told[0].startswith("pyav 15.1.0 (FFmpeg ") and told[0].endswith("h264 hevc vp9 av1")
    assert "decord: h264 hevc vp9" in told


def test_the_command(capsys, monkeypatch):
    assert main(["doctor", "--only", "python,versions", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["findings"] == [] and set(answer["facts"]) == {"python", "versions"}
    monkeypatch.setitem(packages.PINS, "verl", "9.9")
    assert main(["doctor", "--only", "python,versions"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok   python: 3.1") and lines[1].startswith("FAIL versions: verl 0.9.1: 9.9 is tested")
    assert main(["doctor", "--only", "nonsense"]) == 2
    assert main(["doctor", "--judge", "nonsense", "--only", "judge"]) == 2


def test_the_pins_are_those_of_the_locks():
    folder = Path(__file__).parents[2] / "constraints"
    lines = [line for name in ("common", "cuda") for line in (folder / f"{name}.txt").read_text().splitlines()]
    for name, version in (packages.PINS | packages.OPTIONAL_PINS).items():
        assert f"{name}=={version}" in lines or f"{name.replace('-', '_')}=={version}" in lines
