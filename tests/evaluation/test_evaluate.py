"""The evaluator over a real socket, with policies that read the very pixels they are sent."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.evaluation.evaluate import Evaluation
from longvt_plugins.evaluation.options import read_file
from longvt_plugins.evaluation.questions import read_questions
from longvt_plugins.evaluation.results import RECORDS, read_result
from longvt_plugins.evaluation.summary import Summary
from longvt_plugins.testing.chat_server import ChatServer
from longvt_plugins.testing.judge_server import JudgeServer

from .conftest import answer, code_of, crop_rightly, guessing, seeing

CHANCE = 0.1


@pytest.fixture
def evaluate(needle, tmp_path):
    """``(script, mode) -> (summary, records, server)``."""

    def run(script, mode="crops", folder=tmp_path / "result", concurrency=4, **changes):
        options, tool = read_file(needle / "evaluation.yaml")
        options = options.model_copy(update=changes)
        questions = read_questions(needle / "val.parquet")
        with ChatServer(script) as server:
            evaluation = Evaluation(server.url, "policy", options, tool, mode)
            records = asyncio.run(evaluation.run(questions, folder, concurrency))
        return Summary.of(records.values(), len(questions)), records, server

    return run


def test_who_crops_rightly_and_reads_is_right(evaluate):
    found, records, server = evaluate(seeing)
    assert (found.accuracy, found.format, found.tool_use, found.calls, found.faulted) == (1, 1, 1, 1, 0)
    assert found.miou == pytest.approx(1)
    assert found.ended_by == {"answer": 10} and len(server.requests) == 20
    assert all(record.reward.decided_by == "rule" for record in records.values())
    sampling = ("temperature", "top_p", "top_k", "repetition_penalty")
    assert {tuple(request[key] for key in sampling) for request in server.requests} == {(0, 1, -1, 1)}


def test_who_does_not_crop_guesses(evaluate):
    found, _, _ = evaluate(guessing)
    assert (found.accuracy, found.tool_use, found.miou) == (pytest.approx(CHANCE), 0, 0)


def test_without_the_tool_nobody_can_know(evaluate):
    found, _, server = evaluate(seeing, "no-tool")
    assert (found.accuracy, found.calls) == (pytest.approx(CHANCE), 0)
    assert not any("tools" in request for request in server.requests)


def test_calls_without_the_tool_are_answered_with_a_refusal(evaluate):
    found, records, _ = evaluate(lambda turn, request: answer(1) if turn else crop_rightly(request), "no-tool")
    assert (found.tool_use, found.calls) == (0, 1)
    assert {call.outcome.status for r in records.values() for call in r.transcript.calls} == {"malformed"}


def test_blank_crops_bring_a_reader_to_chance_and_leave_the_rest_as_it_is(evaluate, tmp_path):
    found, records, _ = evaluate(seeing, "blank")
    assert found.accuracy == pytest.approx(CHANCE)
    assert (found.tool_use, found.miou) == (1, pytest.approx(1))
    _, shown, _ = evaluate(seeing, "crops", tmp_path / "crops")
    spans = [[(c.outcome.span_s, c.outcome.times_s) for c in r.transcript.calls] for r in (records["3"], shown["3"])]
    assert spans[0] == spans[1]


def test_blank_crops_do_not_change_who_does_not_read_them(evaluate, needle):
    known = {
        row["extra_info"]["question"].split("code ")[1][:2]: row["reward_model"]["ground_truth"]
        for row in pq.read_table(needle / "val.parquet").to_pylist()
    }
    found, _, _ = evaluate(lambda turn, req: answer(known[code_of(req)]) if turn else crop_rightly(req), "blank")
    assert (found.accuracy, found.tool_use) == (1, 1)


def test_faults_of_the_server_are_records_without_a_score_and_are_asked_again(evaluate, tmp_path):
    failed = set()

    def failing(turn, request):
        if len(failed) < 2 or code_of(request) in failed:
            failed.add(code_of(request))
            return 400
        return seeing(turn, request)

    found, records, _ = evaluate(failing, concurrency=1)
    assert (found.faulted, found.accuracy, found.miou, found.missing) == (2, 1, pytest.approx(1), 0)
    faulted = [record for record in records.values() if record.reward.faulted]
    assert all(r.transcript.ended_by == "fault" and r.reward.acc is None for r in faulted)
    assert {record.transcript.fault.kind for record in faulted} == {"BadRequestError"}
    again, _, server = evaluate(seeing)
    assert (again.faulted, again.accuracy, again.ended_by) == (0, 1, {"answer": 10})
    assert {code_of(request) for request in server.requests} == failed


def test_a_policy_does_not_judge_itself():
    options, tool = read_file(None)
    own = "http://127.0.0.1:8000/v1"

    def judged(**judge):
        reward = {"judge": {"endpoints": [f"{own}/"], **judge}}
        return Evaluation(own, "policy", options.model_copy(update={"reward": reward}), tool)

    with pytest.raises(ConfigError, match="would judge itself"):
        judged()
    assert judged(model="Qwen2.5-72B").reward.judge.model == "Qwen2.5-72B"
    assert judged(endpoints=["http://127.0.0.1:8001/v1"]).reward.judge.model is None


def test_what_a_dead_judge_left_open_is_judged_later_and_the_policy_is_not_asked_again(needle, tmp_path):
    def in_words(turn, request):
        return seeing(turn, request).replace("<answer>", "<answer>the digit ")

    questions = [
        replace(q, row=q.row | {"extra_info": {k: v for k, v in q.row["extra_info"].items() if k != "options"}})
        for q in read_questions(needle / "val.parquet")
    ]
    options, tool = read_file(needle / "evaluation.yaml")

    def evaluate(judge):
        how = {"endpoints": [judge.url], "deadline_s": 1.0, "backoff_s": 0.1}
        asked = options.model_copy(update={"reward": {"task": "answer", "judge": how}})
        with ChatServer(in_words) as server:
            records = asyncio.run(
                Evaluation(server.url, "policy", asked, tool, "crops").run(questions, tmp_path / "result")
            )
        return Summary.of(records.values(), len(questions)), server

    with JudgeServer(score=lambda question, reference, said: float(said == f"the digit {reference}")) as judge:
        judge.stop()
        found, _ = evaluate(judge)
        assert (found.abstained, found.accuracy) == (10, None)
        judge.start()
        found, server = evaluate(judge)
        assert (found.abstained, found.accuracy, server.requests) == (0, 1, [])


def test_a_vanished_video_is_a_fault_of_its_questions_alone(evaluate, needle, tmp_path):
    (needle / "val_0000.mp4").rename(tmp_path / "away.mp4")
    try:
        found, records, _ = evaluate(seeing)
    finally:
        (tmp_path / "away.mp4").rename(needle / "val_0000.mp4")
    assert (found.faulted, found.accuracy) == (5, 1)
    assert records["0"].transcript.fault.kind == "VideoOpenError"


def test_a_killed_evaluation_goes_on_where_it_was(needle, tmp_path):
    held, asked = threading.Event(), []

    def slow(turn, request):
        if turn:
            asked.append(code_of(request))
            if len(asked) > 4:
                held.wait(60)
        return seeing(turn, request)

    records = tmp_path / RECORDS
    with ChatServer(slow) as server:
        arguments = [str(needle / "val.parquet"), "--url", server.url, "--model", "policy", "-o", str(tmp_path)]
        arguments += ["--options", str(needle / "evaluation.yaml"), "--concurrency", "2"]
        process = subprocess.Popen([sys.executable, "-m", "longvt_plugins.cli.main", "evaluate", *arguments])
        until = time.monotonic() + 120
        while not records.exists() or records.read_bytes().count(b"\n") < 4:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        held.set()
        before = records.read_bytes()
        records.write_bytes(before + b'{"version":1,"id":"9","data_so')
        done = set(read_result(tmp_path)[1])
        assert len(done) == 4
        asked.clear()
        assert main(["evaluate", *arguments]) == 0
    assert len(asked) == 6 and records.read_bytes().startswith(before)
    assert records.read_bytes().count(b"\n") == len(read_result(tmp_path)[1]) == 10


def test_conversations_at_once_are_bounded(evaluate):
    guard, now, most = threading.Lock(), 0, 0

    def counting(turn, request):
        nonlocal now, most
        with guard:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with guard:
            now -= 1
        return guessing(turn, request)

    evaluate(counting, concurrency=3)
    assert 1 < most <= 3


def test_another_evaluation_is_not_written_over(evaluate):
    evaluate(guessing)
    with pytest.raises(ConfigError, match='mode: "crops", not "blank"'):
        evaluate(guessing, "blank")
    with pytest.raises(ConfigError, match=r"options\.response_length"):
        evaluate(guessing, response_length=512)


def test_a_result_that_another_process_writes_is_left_alone(evaluate, tmp_path):
    import fcntl

    (tmp_path / "result").mkdir()
    with open(tmp_path / "result" / RECORDS, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another evaluation"):
            evaluate(guessing)


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_what_else_ends_a_line_ends_no_record(evaluate, tmp_path, end):
    evaluate(lambda turn, request: f"<answer>a{end}b</answer>")
    (said, *_) = read_result(tmp_path / "result")[1]["0"].transcript.turns
    assert said.text == f"<answer>a{end}b</answer>"


def test_damage_in_the_middle_is_named(evaluate, tmp_path):
    evaluate(guessing)
    path = tmp_path / "result" / RECORDS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{oops\n", *lines[1:]]))
    with pytest.raises(DataError, match="line 2"):
        evaluate(guessing)


def test_the_command_prints_a_table_and_is_not_fine_when_questions_fault(needle, tmp_path, capsys):
    def run(script, *more):
        with ChatServer(script) as server:
            arguments = ["--url", server.url, "--model", "policy", "--options", str(needle / "evaluation.yaml")]
            return main(["evaluate", str(needle / "val.parquet"), *arguments, *more])

    assert run(guessing, "-o", str(tmp_path / "a")) == 0
    assert "ended by: answer 10" in capsys.readouterr().out
    assert run(lambda turn, request: 400, "-o", str(tmp_path / "b"), "--json") == 1
    data = json.loads(capsys.readouterr().out)
    assert (data["faulted"], data["accuracy"]) == (10, None)
    assert run(guessing, "-o", str(tmp_path / "c"), "--template", str(tmp_path / "none")) == 2


def test_a_checkpoint_that_was_replaced_is_not_answered_for_by_its_predecessor(needle, tmp_path, capsys):
    def run(checkpoint):
        with ChatServer(guessing) as server:
            arguments = ["--url", server.url, "--model", "policy", "--options", str(needle / "evaluation.yaml")]
            arguments += ["--checkpoint", str(checkpoint), "-o", str(tmp_path / "result")]
            return main(["evaluate", str(needle / "val.parquet"), *arguments]), len(server.requests)

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"old")
    assert run(tmp_path) == (0, 10) and run(tmp_path) == (0, 0)
    weights.write_bytes(b"trained again")
    assert run(tmp_path) == (2, 0)
    assert "holds another evaluation: weights: " in capsys.readouterr().err
    assert run(tmp_path / "none")[0] == 2
    assert "is no folder with *.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["overview: {fpss: 1}", "nonsense: 1", "loop: {max_call: 1}", "- 1", "reward: {x: 1}", "{"]
)
def test_options_that_mean_nothing_are_refused(needle, tmp_path, text):
    (tmp_path / "options.yaml").write_text(text)
    arguments = ["--url", "http://127.0.0.1:1/v1", "--model", "m", "-o", str(tmp_path / "r")]
    assert main(["evaluate", str(needle / "val.parquet"), *arguments, "--options", str(tmp_path / "options.yaml")]) == 2
    assert not (tmp_path / "r").exists()
