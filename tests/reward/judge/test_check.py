"""``longvt judge check``: a judge that knows the calibration verdicts passes, others are named."""

import json

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.reward.judge.check import examples
from longvt_plugins.testing.judge_server import JudgeServer

RIGHT = {(e.question, e.reference, e.answer): e.score for e in examples()}


def knows(question, reference, answer):
    return RIGHT.get((question, reference, answer), 1.0)


def check(capsys, url, *arguments):
    code = main(["judge", "--json", "check", url, *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_the_calibration_has_22_verdicts_of_every_kind():
    scores = [example.score for example in examples()]
    assert len(scores) == 22 == len(RIGHT) and set(scores) == {0, 0.5, 1}


@pytest.mark.parametrize("structured", [True, False])
def test_a_judge_that_knows_passes(capsys, structured):
    with JudgeServer(score=knows, structured=structured) as server:
        code, report = check(capsys, server.url)
    assert code == 0 and report["agreement"] == 1.0 and report["structured"] is structured
    assert report["models"] == ["scripted-judge"] and report["latency_s"] > 0


def test_a_judge_that_believes_everything_does_not(capsys):
    with JudgeServer(score=lambda *_: 1.0) as server:
        code, report = check(capsys, server.url)
        assert main(["judge", "check", server.url]) == 1
    assert code == 1 and report["agreement"] < 0.6
    assert any("Ignore the rules" in wrong["answer"] for wrong in report["disagreements"])
    assert "not fit to judge" in capsys.readouterr().out


def test_abstentions_are_not_agreement(capsys):
    with JudgeServer(score=knows, faults=["reply_not_json"]) as server:
        server.fault_rate = 1.0
        code, report = check(capsys, server.url)
    assert code == 1 and (report["agreement"], report["abstained"]) == (0.0, 22)


def test_what_is_no_judge_is_named(capsys):
    with JudgeServer() as server:
        code, report = check(capsys, server.url, "--model", "another")
        assert code == 1 and "not 'another'" in report["fault"]
        url = server.url
    code, report = check(capsys, url)
    assert code == 1 and "APIConnectionError" in report["fault"]
    assert main(["judge", "check", "localhost:8000"]) == 2
    assert "http(s)://" in capsys.readouterr().err
