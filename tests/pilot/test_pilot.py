"""``longvt pilot`` over a real socket: policies whose every trajectory is known, and a real ``vllm serve``."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.datasets.schema import RL_SCHEMA
from longvt_plugins.episode import write_call
from longvt_plugins.pilot import plan, server
from longvt_plugins.testing.chat_server import ChatServer
from longvt_plugins.testing.processes import mentioning

ROOT = Path(__file__).parents[2]
N = 4
GROUPS = {
    3: "right right right right",
    7: "right wrong right wrong",
    11: "wrong wrong wrong long",
    15: "right unasked muddled untagged",
    19: "fault fault fault right",
}
"""What the four trajectories of a row do, by the second at which its square appears."""
LIKELY = [(math.log(0.5), [math.log(0.5), math.log(0.25)])]


class Policy:
    """Plays ``GROUPS``; a conversation says in its first turn which of its group it is."""

    def __init__(self, groups: dict[int, str], answers: dict[int, str]):
        self.groups, self.answers = groups, answers
        self.begun: Counter[int] = Counter()
        self._lock = threading.Lock()

    def __call__(self, turn: int, request: dict) -> str | int:
        asked = json.dumps(request["messages"][1])
        start_s = int(re.search(r"between (\d+) and", asked)[1])
        if turn == 0:
            with self._lock:
                number = self.begun[start_s]
                self.begun[start_s] += 1
        else:
            number = int(re.search(r"number (\d+)", json.dumps(request["messages"][2]))[1])
        act = self.groups[start_s].split()[number % N]
        answer = self.answers[start_s] if act != "wrong" else "purple"
        said = f"<think>number {number}</think>"
        if act == "fault":
            return 400
        if act == "long":
            return said + " word" * 600
        if act == "untagged":
            return f"It is {answer}."
        if act == "unasked" or turn:
            return f"{said}<answer>{answer}</answer>"
        if act == "muddled":
            return f"{said}<tool_call>crop {start_s}</tool_call>"
        return said + write_call("crop_video", f'{{"start_time": {start_s}, "end_time": {start_s + 2}}}')


@pytest.fixture(scope="module")
def answers(demo):
    rows = pq.read_table(demo.folder / "data" / "train.parquet").to_pylist()
    return {int(row["extra_info"]["segments"][0][0]): row["reward_model"]["ground_truth"] for row in rows}


@pytest.fixture
def pilot(demo, answers, tmp_path, capsys):
    """``(groups, *arguments) -> (exit code, its JSON, server)``; without ``--json`` its text."""

    def run(groups, *arguments, output=tmp_path / "pilot", n=N, rows=5):
        with ChatServer(Policy(groups, answers), likely=lambda text: LIKELY * len(text.split())) as chat:
            where = ["--url", chat.url, "--rows", str(rows), "--n", str(n), "-o", str(output)]
            code = main(["pilot", "longvt_demo", str(demo.folder / "model"), *demo.overrides, *arguments, *where])
        said = capsys.readouterr()
        return code, json.loads(said.out) if "--json" in arguments else said.err + said.out, chat

    return run


def test_the_figures_are_those_of_the_trajectories_that_were_played(pilot):
    code, said, chat = pilot(GROUPS, "--json")
    found, parts = said["figures"], said["figures"]["parts"]
    assert (found["groups"], found["trajectories"]) == (5, 20)
    assert found["faulted"] == 3 / 20 and found["truncated"] == 1 / 20 and found["abstained"] == 0
    # 8 right, 5 wrong and 1 unasked keep the form and write nothing unreadable.
    assert found["parse_rate"] == pytest.approx(14 / 20)
    assert found["readable_calls"] == pytest.approx(13 / 14)
    assert found["pass_1"] == pytest.approx((1 + 0.5 + 0 + 0.75 + 1) / 5)
    assert found["pass_n"] == pytest.approx(4 / 5)
    # 7 s: the answers differ; 11 s: the form does; 15 s: everything does; 19 s has one trajectory, which is no group.
    assert found["signal"] == pytest.approx(3 / 5)
    assert found["kept"] == 1, "the demo does not filter"
    assert (parts["acc"]["signal"], parts["format"]["signal"]) == (2 / 4, 2 / 4)
    assert parts["acc"]["mean"] == pytest.approx((4 + 2 + 0 + 3) / 16)
    assert parts["acc"]["within"] == pytest.approx((0 + 1 / 3 + 0 + 1 / 4) / 4)
    assert parts["grounding"]["mean"] == pytest.approx(12 / 16), "of 16 that take part, 12 crop what they should"
    assert found["tool_use"] == pytest.approx(13 / 20) and found["crops"] == pytest.approx(13 / 20)
    assert found["calls"] == pytest.approx(14 / 20)
    assert found["entropy"] == pytest.approx(math.log(2))
    assert found["entropy_listed"] == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(4))
    assert found["ended_by"] == {"answer": 15 / 20, "fault": 3 / 20, "length_limit": 1 / 20, "no_answer": 1 / 20}
    assert code == 1 and not said["go"]
    assert [reason["name"] for reason in said["reasons"]] == ["faults", "form"]
    assert len(chat.requests) == 20 + 14, "a second turn for each call, none repeated"


def test_a_filter_is_judged_by_its_metric(pilot):
    filtered = ["algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=acc"]
    _, said, _ = pilot(GROUPS, *filtered, "--json")
    assert (said["figures"]["signal"], said["figures"]["kept"]) == (3 / 5, 2 / 5)


def test_a_policy_that_can_learn_goes(pilot):
    groups = dict.fromkeys(GROUPS, "right wrong right right")
    code, text, _ = pilot(groups)
    assert code == 0 and text.splitlines()[-1] == "verdict: go"
    assert "0.750  mean answer score; at most 0.95" in text


@pytest.mark.parametrize(
    "group, reasons",
    [
        ("right right right right", ["too-easy", "signal"]),
        ("wrong wrong wrong wrong", ["too-hard", "signal"]),
        ("unasked unasked right wrong", []),
        ("unasked unasked unasked unasked", ["tool-use", "too-easy", "signal"]),
        ("muddled muddled right wrong", ["form"]),
        ("right wrong long right", ["form", "truncation"]),
    ],
)
def test_what_keeps_it_from_learning_is_named(pilot, group, reasons):
    code, said, _ = pilot(dict.fromkeys(GROUPS, group), "--json", rows=2)
    assert [reason["name"] for reason in said["reasons"]] == reasons
    assert code == (1 if reasons else 0)


def test_requests_are_what_the_recipe_says(pilot):
    _, _, chat = pilot(GROUPS, "actor_rollout_ref.rollout.temperature=0.9", rows=1, n=2)
    request = chat.requests[0]
    assert (request["temperature"], request["top_p"], request["top_k"]) == (0.9, 1, -1)
    assert request["repetition_penalty"] == 1 and request["model"] == chat.model
    assert request["max_tokens"] == 384 and request["tools"][0]["function"]["name"] == "crop_video"
    assert json.dumps(request["messages"]).count("image_url") == 2 * 6


def test_prompts_are_those_of_the_run_shrunk_ones_too(pilot, demo):
    short = ["data.max_prompt_length=370", "+data.longvt.shrink=true"]
    _, _, chat = pilot(GROUPS, *short, rows=1, n=2)
    frames = json.dumps(chat.requests[0]["messages"]).count("image_url") // 2
    recipe = plan.read_recipe("longvt_demo", str(demo.folder / "model"), [*demo.overrides, *short])
    (rollout, _), _ = plan.rollouts_of(recipe, str(demo.folder / "model"), 1, 2)
    assert 0 < frames < 6 and rollout.row["shown"][0][0] == frames


def test_no_tool_is_offered_where_the_recipe_has_none(pilot):
    nothing = ["actor_rollout_ref.rollout.multi_turn.tool_config_path=null"]
    _, said, chat = pilot(dict.fromkeys(GROUPS, "unasked wrong wrong wrong"), *nothing, "--json", rows=1)
    assert not any("tools" in request for request in chat.requests)
    assert "tool-use" not in [reason["name"] for reason in said["reasons"]]


def test_the_same_command_goes_on_where_it_was(pilot, tmp_path):
    pilot(GROUPS)
    records = tmp_path / "pilot" / "records.jsonl"
    whole = records.read_bytes().splitlines(keepends=True)
    records.write_bytes(b"".join(line for line in whole[:10] if b'"faulted":true' not in line))
    kept = records.read_bytes().count(b"\n")
    _, said, chat = pilot(dict.fromkeys(GROUPS, "unasked unasked unasked unasked"), "--json")
    assert said["figures"]["trajectories"] == 20 and len(chat.requests) == 20 - kept


def test_another_recipe_is_not_mixed_in(pilot):
    pilot(GROUPS, rows=1)
    code, text, _ = pilot(GROUPS, "data.longvt.overview.max_frames=4", rows=1)
    assert code == 2 and "holds another evaluation" in text


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["trainer.nodes=3"], "trainer.nodes"),
        (["reward.custom_reward_function.path=null"], "is not what pilot can score"),
        (["+data.longvt.profile=native"], "cannot be served"),
        (["data.train_files=nowhere.parquet"], "nowhere.parquet"),
    ],
)
def test_what_cannot_be_piloted_is_said(pilot, arguments, said):
    code, text, _ = pilot(GROUPS, *arguments)
    assert code == 2 and said in text


def test_a_checkpoint_that_is_not_there_is_named(demo, capsys):
    assert main(["pilot", "longvt_demo", "no/such/model", *demo.overrides]) == 2
    assert "no/such/model: has no processor" in capsys.readouterr().err


def test_another_recipe_is_refused_before_a_server_is_started(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(server, "serve", lambda *_: pytest.fail("a server costs minutes"))
    (tmp_path / "records.jsonl").write_text("x\n")
    arguments = [str(demo.folder / "model"), *demo.overrides, "--rows", "1", "-o", str(tmp_path)]
    assert main(["pilot", "longvt_demo", *arguments]) == 2
    assert "no header.json" in capsys.readouterr().err


def test_records_of_a_checkpoint_that_was_replaced_are_refused(pilot, demo):
    assert pilot(GROUPS, "--json", rows=1, n=2)[1]["figures"]["trajectories"] == 2
    (demo.folder / "model" / "model.safetensors").touch()
    code, said, chat = pilot(GROUPS, rows=1, n=2)
    assert code == 2 and "holds another evaluation: weights: " in said and not chat.requests


def test_a_group_of_one_is_refused(pilot):
    assert pilot(GROUPS, n=1)[0] == 2


def test_rows_with_pictures_are_left_out_and_counted(demo, tmp_path):
    rows = pq.read_table(demo.folder / "data" / "train.parquet").to_pylist()
    from PIL import Image

    Image.new("RGB", (56, 56)).save(demo.folder / "data" / "p.png")
    picture = [rows[0]["prompt"][0], {**rows[0]["prompt"][1], "content": "<image>\nWhich colour?"}]
    rows = [rows[0], rows[1] | {"prompt": picture, "videos": [], "images": ["p.png"]}]
    pq.write_table(pa.Table.from_pylist(rows, schema=RL_SCHEMA), tmp_path / "rows.parquet")
    model = str(demo.folder / "model")
    recipe = plan.read_recipe("longvt_demo", model, [*demo.overrides, f"data.train_files={tmp_path}/rows.parquet"])
    rollouts, left_out = plan.rollouts_of(recipe, model, 10, 3)
    assert (len(rollouts), left_out) == (3, 1) and not any(rollout.row["images"] for rollout in rollouts)


def test_the_server_is_given_what_the_recipe_gives_its_engine(demo, tmp_path):
    given = server.arguments(demo.compose("actor_rollout_ref.rollout.temperature=1"), tmp_path)
    flags = {flag: value for flag, value in zip(given, [*given[1:], ""], strict=True) if flag.startswith("--")}
    assert flags["--max-model-len"] == "1024" and flags["--generation-config"] == "vllm"
    assert flags["--logprobs-mode"] == "processed_logprobs"
    assert json.loads(flags["--limit-mm-per-prompt"]) == {"image": 64}
    assert "--skip-mm-profiling" in flags and "--enforce-eager" in flags
    template = demo.compose().actor_rollout_ref.model.custom_chat_template
    assert Path(flags["--chat-template"]).read_text() == template


@pytest.mark.full
def test_a_real_server_of_a_taught_checkpoint(tmp_path, capsys):
    """Random weights, taught for a minute: it calls the tool, and its server is gone afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    teach = ["-m", "longvt_plugins.testing.teach", "longvt_demo", f"longvt.run={tmp_path}"]
    for command in (["-m", "data_prep.demo_footage", f"{tmp_path}/data"], teach):
        subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    model = str(tmp_path / "model")
    arguments = ["pilot", "longvt_demo", model, f"longvt.run={tmp_path}", "--rows", "4", "--n", "4", "--json"]
    code = main(arguments)
    said = json.loads(capsys.readouterr().out)
    found = said["figures"]
    assert (found["groups"], found["trajectories"], found["faulted"]) == (4, 16, 0)
    assert found["parse_rate"] > 0.5 and found["tool_use"] > 0.5
    assert 0 < found["entropy"] < 3 and found["entropy_listed"] > 0
    assert code == (0 if said["go"] else 1)
    assert not mentioning(f"serve {model}")
