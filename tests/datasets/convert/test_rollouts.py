"""Rollouts -> RFT: a real rollout becomes its own conversation again, and the funnel tells what was left out."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.datasets.chains import read_tools
from longvt_plugins.datasets.check import check_file
from longvt_plugins.datasets.convert import Funnel
from longvt_plugins.datasets.convert.rollouts import Standards, traces_of
from longvt_plugins.datasets.paths import local_path
from longvt_plugins.datasets.rl_rows import read_row
from longvt_plugins.datasets.tables import RowFiles, rows_of
from longvt_plugins.episode.episode import Episode
from longvt_plugins.episode.limits import Limits
from longvt_plugins.errors import ConfigError
from longvt_plugins.reward.format import follows_format
from longvt_plugins.testing.records import trajectory
from longvt_plugins.testing.scripted_llm import ScriptedClient, roll_out
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import CropOutcome, MediaRef, Transcript, Turn

ANSWER = "<think>I see it.</think><answer>red</answer>"
CALL = (
    '<think>Look.</think>\n<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 3, "end_time": 5}}'
    "\n</tool_call>"
)


@pytest.fixture(scope="module")
def rolled(demo, dataset, tokenizer):
    """Records of real rollouts of the first validation row: with a crop, without, and with two crops in a turn."""
    config = demo.compose("data.max_response_length=900")
    records = []
    for session, script in enumerate(([CALL, ANSWER], [ANSWER], [CALL + "\n" + CALL, ANSWER])):
        client = ScriptedClient(config, tokenizer, lambda turn, _, script=script: script[turn])
        output = roll_out(config, client, [dataset[0]])
        mask = output.batch["response_mask"][0].tolist()
        length = int(output.batch["attention_mask"][0][output.batch["prompts"].shape[1] :].sum())
        records.append(
            trajectory(
                session=session,
                grounding=[0.5, 0.0, 0.9][session],
                transcript=Transcript.model_validate(output.non_tensor_batch["longvt"][0]),
                sample_index=dataset[0]["index"],
                question=dataset[0]["extra_info"]["question"],
                ground_truth=dataset[0]["reward_model"]["ground_truth"],
                response_ids=tuple(output.batch["responses"][0][:length].tolist()),
                response_mask=tuple(mask[:length]),
            )
        )
    return records


@pytest.fixture(scope="module")
def rows(demo):
    return {
        str(row["extra_info"]["index"]): [row]
        for row in (read_row(r, n) for n, r in enumerate(rows_of(demo.folder / "data" / "val.parquet")))
    }


def encode_with(tokenizer):
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def test_a_trace_is_the_policys_words_and_the_frames_it_saw(demo, rolled, rows, tokenizer):
    funnel, root = Funnel(), demo.folder / "data"
    encode = encode_with(tokenizer)
    chains = list(traces_of(rolled, rows, Standards(), funnel, tools=(), root=root, encode=encode))
    assert funnel.written == 3 and not funnel.left_out
    best, first, _ = chains  # the best grounded come first
    assert [message["role"] for message in first.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert [message["role"] for message in best.messages][2:] == ["assistant", "tool", "tool", "assistant"]
    assert first.messages[2]["content"] == [{"type": "text", "text": CALL}]
    overview, crop = first.messages[1]["content"][0]["frames"], first.messages[3]["content"][1]["frames"]
    assert overview["url"] == crop["url"] == "street_1.mp4"
    assert overview["times_s"] == list(rolled[0].transcript.overview[0].times_s)
    assert crop["times_s"] == list(rolled[0].transcript.calls[0].outcome.times_s)
    assert first.origin.acc == 1.0 and first.origin.grounding == 0.5


def test_a_trace_is_taught_with_the_tokens_of_its_rollout(demo, rolled, rows, media, tmp_path, dataset):
    from longvt_plugins.datasets.schema import write_chains
    from longvt_plugins.tools.tool_file import read_schemas

    tools = read_schemas(demo.compose().actor_rollout_ref.rollout.multi_turn.tool_config_path)
    chains = traces_of(rolled[:1], rows, Standards(), Funnel(), tools=tools)
    write_chains(chains, tmp_path / "rft.parquet")
    processor = {"processor_name": str(demo.folder / "model"), "processor_type": "longvt_qwen2_5_vl"}
    files = [{"path": str(tmp_path / "rft.parquet")}]
    built = media.build("qwen2_5_vl", dataset={"datasets": files, "processor_config": processor})
    ids = built.sample(0)["input_ids"].tolist()
    assert ids[-len(rolled[0].response_ids) :] == list(rolled[0].response_ids)
    own = (built.sample(0)["labels"] != -100).tolist()[-len(rolled[0].response_ids) :]
    assert own == [bool(value) for value in rolled[0].response_mask]


def test_the_funnel_tells_every_reason(rolled, rows, tokenizer):
    good = rolled[0]
    reward = lambda **changes: good.reward.model_copy(update=changes)  # noqa: E731
    cut = good.transcript.model_copy(update={"ended_by": "length_limit"})
    records = [
        good,
        good.model_copy(update={"session": 9}),
        good.model_copy(update={"reward": reward(faulted=True)}),
        good.model_copy(update={"reward": reward(abstained=True, acc=None)}),
        good.model_copy(update={"reward": reward(acc=0.5)}),
        good.model_copy(update={"reward": reward(format=0.0)}),
        good.model_copy(update={"reward": reward(grounding=0.1)}),
        good.model_copy(update={"transcript": cut}),
        good.model_copy(update={"question": "Another?"}),
        good.model_copy(update={"ground_truth": "another"}),
        good.model_copy(update={"transcript": good.transcript.model_copy(update={"overview": ()})}),
        good.model_copy(update={"response_ids": (1, *good.response_ids[1:])}),
        rolled[1],
        rolled[2],
    ]
    funnel = Funnel()
    standards = Standards(grounding=0.3, per_question=1)
    chains = list(traces_of(records, rows, standards, funnel, tools=(), encode=encode_with(tokenizer)))
    assert [chain.id for chain in chains] == [f"r/train/1/{good.sample_index}/g/2"]
    assert funnel.read == 14 and funnel.written == 1 and sum(funnel.left_out.values()) == 13
    assert dict(funnel.left_out) == {
        "faulted": 1,
        "undecided by rules and judge": 1,
        "answer below 1": 1,
        "format below 1": 1,
        "grounding below 0.3, or no ground truth": 2,
        "ended without an answer": 1,
        "no row with its index, question, answer and videos": 2,
        "its row asks about other media than it was shown": 1,
        "its text does not give the policy's tokens": 1,
        "more than 1 of its question": 2,
    }


@pytest.mark.parametrize(
    ("info", "videos", "left_out"),
    [
        ({}, ["a.mp4"] * 4, []),
        ({"index": 0, "question": "Which?"}, ["a.mp4", "a.mp4", "b.mp4", "file:///x/my%20b.mp4"], [0, 1]),
        ({"index": 0}, ["a.mp4", "c.mp4", "b.mp4", "d.mp4"], []),
    ],
)
def test_files_are_one_sequence_and_a_trajectory_finds_its_row(tmp_path, capsys, info, videos, left_out):
    files = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    made = [
        {
            "data_source": "d",
            "prompt": [{"role": "user", "content": f"<video>\nQuestion {number}"}],
            "videos": [url],
            "reward_model": {"ground_truth": "red"},
            "extra_info": {"split": "train"} | info,
        }
        for number, url in enumerate(videos)
    ]
    for file, part in zip(files, (made[:2], made[2:]), strict=True):
        pq.write_table(pa.Table.from_pylist(part), file)
    records = []
    for row in map(RowFiles(files, read_row).__getitem__, range(4)):
        overview = MediaRef(path=local_path(row["videos"][0]), identity="1-1", times_s=(0.0,), size=(28, 28))
        turns = [Turn(role="assistant", text=ANSWER, tokens=3)]
        answered = Transcript(turns=turns, ended_by="answer", overview=[overview])
        own = {"sample_index": row["extra_info"]["index"], "question": row["extra_info"].get("question", "")}
        records.append(trajectory(transcript=answered, session=row["longvt_row"], **own))
    trajectory_log.write(tmp_path / "trajectories", "train", 1, records)
    command = ["data", "rollouts", str(tmp_path / "trajectories"), "--no-tools", "-o", str(tmp_path / "rft.parquet")]
    assert main([*command, "--rows", *files]) == 0
    asked = {row["id"][-1]: row["messages"] for row in rows_of(tmp_path / "rft.parquet")}
    assert sorted(asked) == [str(number) for number in range(4) if number not in left_out]
    assert all(f"Question {number}" in messages for number, messages in asked.items())
    reason = "several rows with its index, question, answer and videos"
    assert (f"{len(left_out)} left out: {reason}" in capsys.readouterr().out) == bool(left_out)


@pytest.mark.parametrize(("lost", "taken"), [("", 1), ("<think>", 1), ("<think>I", 0)])
def test_the_template_may_have_opened_a_turn_for_the_policy(rolled, rows, tokenizer, lost, taken):
    ids = tokenizer.encode(ANSWER.removeprefix(lost) + "<|im_end|>", add_special_tokens=False)
    record = rolled[1].model_copy(update={"response_ids": tuple(ids), "response_mask": (1,) * len(ids)})
    assert len(list(traces_of([record], rows, Standards(), Funnel(), encode=encode_with(tokenizer)))) == taken


def test_the_same_words_are_taken_once(rolled, rows):
    funnel = Funnel()
    assert len(list(traces_of([rolled[0]] * 3, rows, Standards(), funnel, tools=()))) == 1
    assert funnel.left_out == {"said before, word for word": 2}


def began_with(text: str, record):
    """``record`` after a first turn of these words, which no tool could answer."""
    good, episode = record.transcript, Episode(Limits(), overview=record.transcript.overview)
    refusals = [call.refusal for call in episode.policy_turn(text, 10).calls]
    episode.added(episode.reply([refusal or CropOutcome(status="refused", reply="No.") for refusal in refusals]), 3)
    episode.policy_turn(good.turns[0].text, 10)
    episode.added(episode.reply([good.calls[0].outcome]), 3)
    episode.policy_turn(ANSWER, 5)
    reward = record.reward.model_copy(update={"grounding": 1.0})
    return record.model_copy(update={"transcript": episode.finish("answer"), "reward": reward, "session": 7})


@pytest.mark.parametrize(
    ("words", "rule", "found"),
    [
        ("<think>Look.</think><tool_call>crop_video(3, 5)</tool_call>", "a call that no parser reads", "crop_video(3"),
        ("<think>What is <|im_start|>?</think>" + CALL[CALL.index("<tool_call>") :], "a control token", "<|im_start|>"),
    ],
)
def test_a_good_trajectory_that_makes_no_chain_leaves_its_place_to_the_next_best(rolled, rows, words, rule, found):
    best, funnel = began_with(words, rolled[0]), Funnel()
    assert follows_format(best.transcript), "it must get as far as the chain"
    (chain,) = traces_of([best, rolled[0]], rows, Standards(per_question=1), funnel, tools=())
    assert chain.id.endswith("/0") and (funnel.read, funnel.written) == (2, 1)
    ((reason, count),) = funnel.left_out.items()
    assert reason.startswith(f"no chain to learn from: {rule}") and count == 1
    assert "/7, messages[2].content" in funnel.examples[reason] and found in funnel.examples[reason]


@pytest.mark.parametrize(("selection", "names"), [(None, ["crop_video"]), ([], ["crop_video"]), (["none"], [])])
def test_a_trace_shows_the_tools_that_its_row_may_call(rolled, rows, selection, names):
    (row,) = rows[str(rolled[1].sample_index)]
    row = row | {"extra_info": row["extra_info"] | {"tool_selection": selection}}
    tool = {"type": "function", "function": {"name": "crop_video"}}
    (chain,) = traces_of([rolled[1]], {"100": [row]}, Standards(), Funnel(), tools=[tool])
    assert [shown["function"]["name"] for shown in read_tools(chain.to_parquet_row())] == names


def test_calls_of_tools_that_are_not_named_are_refused(rolled, rows):
    (chain,) = traces_of([rolled[1]], rows, Standards(), Funnel())
    assert chain.tools == [] and not rolled[1].transcript.calls
    wrong = rolled[0].model_copy(update={"reward": rolled[0].reward.model_copy(update={"acc": 0.0})})
    with pytest.raises(ConfigError, match=r"a tool call in r/train/1/.*--tools, or .* --no-tools"):
        list(traces_of([rolled[1], wrong], rows, Standards(), Funnel()))


def test_standards_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Standards(acc=2)


def test_the_command(demo, rolled, tmp_path, capsys):
    trajectory_log.write(tmp_path / "trajectories", "train", 1, rolled)
    command = ["data", "rollouts", str(tmp_path / "trajectories"), "--rows", str(demo.folder / "data" / "val.parquet")]
    command += ["-o", str(tmp_path / "rft.parquet"), "--root", str(demo.folder / "data"), "--crops", "1"]
    assert main(command) == 2 and "--no-tools" in capsys.readouterr().err
    assert not [*tmp_path.glob("rft.parquet*")]
    assert main([*command, "--no-tools"]) == 0 and "2 written" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "rft.parquet").column("tools").null_count == 2
    command += ["--tools", demo.compose().actor_rollout_ref.rollout.multi_turn.tool_config_path]
    assert main([*command, "--tokenizer", str(demo.folder / "model")]) == 0
    assert "crop_video" in pq.read_table(tmp_path / "rft.parquet").column("tools")[0].as_py()
    out = capsys.readouterr().out
    assert "3 read, 2 written" in out and "1 left out: fewer than 1 crops" in out
    assert check_file(tmp_path / "rft.parquet", str(demo.folder / "data")).findings == []
    assert pq.read_table(tmp_path / "rft.parquet").column("origin")[0].as_py().startswith("{")
    assert main(["data", "rollouts", str(tmp_path), "--rows", "x.parquet", "-o", "y.parquet"]) == 2
    assert main([*command, "--tokenizer", str(tmp_path / "none")]) == 2
    assert "none: has no tokenizer that can be read" in capsys.readouterr().err


def test_a_row_that_cannot_be_read_is_named(rolled, tmp_path, capsys):
    trajectory_log.write(tmp_path, "train", 1, rolled)
    pq.write_table(pa.table({"prompt": [["What?"]]}), tmp_path / "rl.parquet")
    output = str(tmp_path / "rft.parquet")
    assert main(["data", "rollouts", str(tmp_path), "--rows", str(tmp_path / "rl.parquet"), "-o", output]) == 2
    assert "rl.parquet, row 0, prompt[0]: 'What?': must be a message" in capsys.readouterr().err
