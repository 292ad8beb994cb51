"""Converters: a record of each public format becomes the right row; bad ones are counted, other files refused."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.datasets.check import check_file
from longvt_plugins.datasets.convert import CONVERTERS, Funnel, Options, convert_records
from longvt_plugins.datasets.tables import rows_of
from longvt_plugins.errors import ConfigError, DataError

LONGVT_RL = {
    "data_source": "selfqa",
    "prompt": [
        {
            "role": "user",
            "content": "<video>What does he wave? Think first, call **crop_video** if needed. "
            "The Video path for this video is: -0NUlZvrYY4.mp4",
        }
    ],
    "videos": [{"type": "video", "video": "file:///softhome/x/-0NUlZvrYY4.mp4", "fps": 1}],
    "reward_model": {"style": "model", "ground_truth": "A red flag."},
    "extra_info": {"index": 5, "question": "What does he wave?", "video_segment": [10.0, 20.0], "split": "train"},
}
CALL = (
    '<think>t</think><tool_call>{"name":"crop_video","arguments":{"video_path":"a.mp4","start_time":0.0}}</tool_call>'
)
LONGVT_SFT = {
    "id": "rft_1",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant. # Tools"}]},
        {
            "role": "user",
            "content": [
                {"type": "video_url", "video_url": {"url": "/softhome/x/a.mp4"}, "text": None},
                {"type": "text", "text": "What? The Video path for this video is: a.mp4", "video_url": None},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": CALL}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<tool_response> The tool executed successfully.</tool_response>"},
                {"type": "image_url", "image_url": {"url": "/softhome/x/a_0_1_0.jpg"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "<think>u</think><answer>red</answer>"}]},
    ],
}
VIDEO_R1 = {
    "problem_id": 2,
    "problem": "What appears on the screen?",
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ["A. A cat", "B. A dog"],
    "solution": "<answer>B</answer>",
    "path": "./LLaVA-Video-178K/x/ytb_1.mp4",
    "data_source": "LLaVA-Video-178K",
}
LONGVIDEO_REASON = {
    "problem_id": 0,
    "problem": "What is the intention?\nA. To sell.\nB. To contrast.",
    "data_type": "video",
    "problem_type": "goal",
    "reasoning": "It begins ...",
    "videos": "longvila_videos/I.mp4",
    "answer": "<answer>B</answer>",
}


def one(name, record):
    (row,) = convert_records(name, [record], Options(data_source="src"), Funnel())
    return row


def test_longvt_rl():
    row = one("longvt-rl", LONGVT_RL)
    assert row.videos == ["file:///softhome/x/-0NUlZvrYY4.mp4"]
    assert row.segments == [(10.0, 20.0)] and row.ground_truth == "A red flag."
    assert row.prompt[0].content.endswith("call **crop_video** if needed.") and row.index == 5


@pytest.mark.parametrize(("selection", "tools"), [(None, None), ([], None), (["none"], ["none"])])
def test_longvt_rl_passes_on_what_a_row_says_of_itself(selection, tools):
    info = LONGVT_RL["extra_info"] | {"options": ["red", "blue"], "tool_selection": selection}
    row = one("longvt-rl", LONGVT_RL | {"agent_name": "single_turn_agent", "extra_info": info})
    assert (row.tools, row.agent_name, row.options) == (tools, "single_turn_agent", ["red", "blue"])
    assert row.to_parquet_row()["extra_info"]["tool_selection"] == tools


def test_longvt_sft_keeps_the_assistants_words_and_gives_the_tool_its_turn():
    chain = one("longvt-sft", LONGVT_SFT)
    assert [message["role"] for message in chain.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert chain.messages[2]["content"] == [{"type": "text", "text": CALL}]
    assert chain.messages[3]["content"] == [
        {"type": "image_url", "image_url": {"url": "/softhome/x/a_0_1_0.jpg"}},
        {"type": "text", "text": "The tool executed successfully."},
    ]
    assert chain.messages[1]["content"][0]["video_url"]["url"] == "/softhome/x/a.mp4" and chain.id == "rft_1"


def test_videosiah_eval():
    row = one("videosiah-eval", {"video_path": "v/1.mp4", "question": "Why?", "answer": "Because."})
    assert (row.videos, row.ground_truth, row.segments, row.options) == (["v/1.mp4"], "Because.", [], [])


@pytest.mark.parametrize("timestamp", [[1.5, 4.0], ["1.5", "4.0"]])
def test_time_r1(timestamp):
    record = {"video": "/data/x/a.mp4", "sentence": "A man sits down.", "timestamp": timestamp, "duration": 3.5}
    row = one("time-r1", record)
    assert row.videos == ["/data/x/a.mp4"] and row.segments == [(1.5, 3.5)] and row.ground_truth == "1.5 - 3.5"
    assert '"A man sits down"' in row.prompt[1].content


def test_video_r1_and_longvideo_reason_keep_letters_and_options():
    row = one("video-r1", VIDEO_R1)
    assert row.ground_truth == "B" and row.options == ["A cat", "A dog"]
    assert row.videos == ["LLaVA-Video-178K/x/ytb_1.mp4"] and "\nA. A cat\nB. A dog" in row.question
    row = one("longvideo-reason", LONGVIDEO_REASON)
    assert (row.ground_truth, row.options, row.videos) == ("B", ["To sell.", "To contrast."], ["longvila_videos/I.mp4"])
    picture = one("video-r1", VIDEO_R1 | {"data_type": "image", "path": "p.png"})
    assert picture.images == ["p.png"] and picture.videos == [] and "<image>" in picture.prompt[1].content


def test_records_that_cannot_be_used_are_told_and_the_rest_goes_on():
    funnel = Funnel()
    records = [
        VIDEO_R1,
        VIDEO_R1 | {"problem_type": "regression"},
        VIDEO_R1 | {"solution": ""},
        {k: v for k, v in VIDEO_R1.items() if k != "path"},
        VIDEO_R1,
    ]
    assert len(list(convert_records("video-r1", records, Options(), funnel))) == 2
    assert (funnel.read, funnel.written, sum(funnel.left_out.values())) == (5, 2, 3)
    assert any("record 1" in line and "tolerance" in line for line in funnel.lines())


SHAPES = {
    "video that is text": ("longvt-sft", {"video_url": "a.mp4"}, "must be an object with url"),
    "frames of infinite size": (
        "longvt-sft",
        {"type": "frames", "frames": {"url": "a.mp4", "times_s": [0, 1], "size": [float("inf"), 56]}},
        "must be [height, width]",
    ),
    "path that is a number": ("longvt-sft", {"video_url": {"url": 5}}, "must be text"),
    "half a character": ("longvt-sft", {"type": "text", "text": "\ud83d"}, "half a character"),
    "calls that are a number": ("longvt-sft", {"tool_calls": 5}, "must be a list of calls"),
    "nested JSON": ("longvt-sft", {"messages": "[" * 3000}, "nested too deep"),
    "null content": ("longvt-rl", {"prompt": [{"role": "user", "content": None}]}, "must be text"),
    "prompt of texts": ("longvt-rl", {"prompt": ["What?"]}, "must be a message"),
    "no prompt": ("longvt-rl", {"prompt": []}, "must be a list of messages"),
    "JSON text": ("longvt-rl", {"extra_info": '{"index": 1}'}, "must be a struct"),
    "answer that is text": ("longvt-rl", {"reward_model": "red"}, "must be a struct"),
    "videos that are text": ("longvt-rl", {"videos": "a.mp4"}, "must be a list of paths"),
    "segments that are a number": ("longvt-rl", {"extra_info": {"segments": 5}}, "does not make a valid row"),
    "segment without an end": (
        "longvt-rl",
        {"extra_info": {"video_segment": [0, float("inf")]}},
        "does not make a valid row",
    ),
    "options that are text": ("video-r1", {"options": "A. cat"}, "must be a list"),
}


def with_shape(name, change):
    if name == "longvt-rl":
        return LONGVT_RL | change
    if name == "video-r1":
        return VIDEO_R1 | change
    if "messages" in change:
        return change
    question, answer = LONGVT_SFT["messages"][1], LONGVT_SFT["messages"][4]
    if "tool_calls" in change:
        return {"messages": [question, answer | change]}
    return {"messages": [question | {"content": [{"type": "video_url"} | change]}, answer]}


@pytest.mark.parametrize("case", SHAPES)
def test_records_of_another_shape_are_told_with_the_reason(case):
    name, change, rule = SHAPES[case]
    good = {"longvt-sft": LONGVT_SFT, "longvt-rl": LONGVT_RL, "video-r1": VIDEO_R1}[name]
    funnel = Funnel()
    rows = list(convert_records(name, [good, with_shape(name, change), good], Options(), funnel))
    assert len(rows) == funnel.written == 2
    ((reason, example),) = funnel.examples.items()
    assert rule in f"{reason}, {example}" and example.startswith("record 1: ")


def test_a_record_that_fails_in_a_way_nobody_thought_of_is_told_and_the_next_is_converted():
    funnel = Funnel()
    records = [LONGVT_SFT, LONGVT_SFT | {"id": Surprise()}, LONGVT_SFT, 5]
    assert len(list(convert_records("longvt-sft", records, Options(), funnel))) == funnel.written == 2
    assert funnel.left_out == {"cannot be read (ZeroDivisionError)": 1, "are missing": 1}
    assert funnel.examples["cannot be read (ZeroDivisionError)"] == "record 1: a surprise"


class Surprise:
    def __str__(self):
        raise ZeroDivisionError("a surprise")


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Q: What colour is the car?\nA. red\nB. blue", ["red", "blue"]),
        (
            "A: Hello.\nB: Hi.\nWho greets first?\n(A) the man\n(B) the dog\n\n(C) nobody",
            ["the man", "the dog", "nobody"],
        ),
        ("What?\nA. red\nB. blue\nN: none of them", ["red", "blue"]),
        ("What colour? A. red\nB. blue", []),
        ("What does A say?\nA: nothing", []),
    ],
)
def test_options_are_lines_lettered_in_sequence(question, options):
    assert one("longvideo-reason", LONGVIDEO_REASON | {"problem": question}).options == options


def test_listed_options_are_not_mixed_with_lines_of_the_question():
    record = VIDEO_R1 | {"problem": "Q: What do they say?\nA: hi\nB: ho", "options": ["A. A cat", "B. A dog"]}
    assert one("video-r1", record).options == ["A cat", "A dog"]


@pytest.mark.parametrize("name", CONVERTERS)
def test_other_peoples_columns_are_named(name):
    with pytest.raises(DataError, match=f"{name} lacks .*{CONVERTERS[name].needs[-1]}"):
        list(convert_records(name, [{"instruction": "x"}], Options(), Funnel()))


def test_charades_lines(tmp_path):
    from longvt_plugins.datasets.convert.sources import records_of

    (tmp_path / "sta.txt").write_text("3MSZA 24.3 30.4##person turns a light on.\n\nAMT7R 0.0 6.1##a ## b\n")
    rows = list(convert_records("charades-sta", records_of(tmp_path / "sta.txt"), Options(), Funnel()))
    assert [(row.videos[0], row.segments[0]) for row in rows] == [
        ("3MSZA.mp4", (24.3, 30.4)),
        ("AMT7R.mp4", (0.0, 6.1)),
    ]
    (tmp_path / "bad.txt").write_text("3MSZA 24.3##x")
    with pytest.raises(DataError, match="line 1"):
        list(records_of(tmp_path / "bad.txt"))


def test_activitynet_form(tmp_path):
    from longvt_plugins.datasets.convert.sources import records_of

    about = {"duration": 9.0, "timestamps": [[1, 2], [3, 4]], "sentences": ["a", "b"]}
    (tmp_path / "train.json").write_text(json.dumps({"v_1": about, "v_2.mkv": about}))
    records = list(records_of(tmp_path / "train.json"))
    assert [record["timestamp"] for record in records] == [[1, 2], [3, 4]] * 2
    assert [record["video"] for record in records] == ["v_1.mp4", "v_1.mp4", "v_2.mkv", "v_2.mkv"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.json", '{"v_1": 5}', "v_1: has no sentence for each"),
        ("x.json", '{"v_1": {"timestamps": [[1, 2]], "sentences": []}}', "v_1: has no sentence for each"),
        ("x.json", "5", "is no list of records"),
        ("x.json", "[" * 3000, "is not JSON"),
        ("x.jsonl", "{}\n" + "[" * 3000, "line 2: is not JSON"),
    ],
)
def test_files_of_another_shape_are_named(tmp_path, name, text, says):
    from longvt_plugins.datasets.convert.sources import records_of

    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=says):
        list(records_of(tmp_path / name))


def test_the_command_writes_rows_that_check_clean(tmp_path, capsys):
    pq.write_table(pa.Table.from_pylist([LONGVT_SFT, LONGVT_SFT | {"id": "rft_2"}]), tmp_path / "in.parquet")
    assert (
        main(["data", "convert", "longvt-sft", str(tmp_path / "in.parquet"), "-o", str(tmp_path / "out.parquet")]) == 0
    )
    assert "2 read, 2 written" in capsys.readouterr().out
    report = check_file(tmp_path / "out.parquet", files=False)
    assert (report.kind, report.rows, report.findings) == ("sft", 2, [])
    (tmp_path / "in.jsonl").write_text(json.dumps(LONGVIDEO_REASON) + "\n")
    assert (
        main(["data", "convert", "longvideo-reason", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "rl.parquet")])
        == 0
    )
    assert next(rows_of(tmp_path / "rl.parquet"))["data_source"] == "longvideo_reason"
    assert check_file(tmp_path / "rl.parquet", files=False).findings == []


def test_a_command_that_finds_nothing_leaves_the_file_of_before(tmp_path, capsys):
    (tmp_path / "in.jsonl").write_text(json.dumps(LONGVIDEO_REASON | {"answer": ""}) + "\n")
    (tmp_path / "out.parquet").write_text("of before")
    command = ["data", "convert", "longvideo-reason", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.parquet")]
    assert main(command) == 1 and "out.parquet is not written: no row is left" in capsys.readouterr().out
    assert (tmp_path / "out.parquet").read_text() == "of before"


def test_the_command_refuses_what_it_does_not_know(tmp_path, capsys):
    assert main(["data", "convert", "imagenet", "x.json", "-o", str(tmp_path / "o.parquet")]) == 2
    assert "known are longvt-rl" in capsys.readouterr().err
    (tmp_path / "x.csv").write_text("a,b")
    assert main(["data", "convert", "time-r1", str(tmp_path / "x.csv"), "-o", str(tmp_path / "o.parquet")]) == 2
    assert not (tmp_path / "o.parquet").exists()
    with pytest.raises(ConfigError):
        list(convert_records("nothing", [], Options(), Funnel()))


def test_the_list_says_how_each_format_is_known(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in CONVERTERS) and out.count("known from:") == len(CONVERTERS)
