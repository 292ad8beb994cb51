"""check-data finds every planted fault, with row, column and remedy, and nothing in a clean file."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from longvt_plugins.cli.main import main
from longvt_plugins.datasets.check import check_file
from longvt_plugins.datasets.schema import SFT_SCHEMA, Message, RLRow, write_rl_rows
from longvt_plugins.errors import DataError
from longvt_plugins.testing.videos import cut, write_video

CALL = '<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 1, "end_time": 2}}\n</tool_call>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("check")
    video = write_video(folder / "a.mp4", frames=40, fps=10)
    cut(video, folder / "cut.mp4", 0.6)
    (folder / "text.mp4").write_text("not a video")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "p.png")
    return folder


def video(**details):
    return {"type": "video_url", "video_url": {"url": "a.mp4", **details}}


def frames(**details):
    return {"type": "frames", "frames": {"url": "a.mp4", "times_s": [1.0, 2.0], "size": [56, 84], **details}}


def chain(*middle, first=None, last="<answer>red</answer>"):
    """A clean conversation, with turns put in between."""
    asked = {"role": "user", "content": first or [video(), {"type": "text", "text": "What?"}]}
    return [{"role": "system", "content": "Think."}, asked, *middle, {"role": "assistant", "content": last}]


def tool(content="2 frames."):
    return {"role": "tool", "content": content}


def said(content=CALL, **more):
    return {"role": "assistant", "content": content, **more}


def asks(*items):
    return chain(first=[*items, {"type": "text", "text": "What?"}])


WINDOW = "messages[1].content[0].video_start, video_end"
# What is planted, and what the finding must name: column and rule.
FAULTS = {
    "unknown role": (chain(said(), {"role": "observation", "content": "x"}), "messages[3].role", "is not one of"),
    "null content": (chain(first=None, last=None), "messages[2].content", "is null"),
    "broken JSON": ('[{"role": "user", "content": ', "messages", "is not JSON"),
    "not a list": ('{"role": "user"}', "messages", "must be a list"),
    "no messages": ([], "messages", "must be a list"),
    "a message that is text": (["hello"], "messages[0]", "must be a message"),
    "other people's keys": ([{"from": "human", "value": "x"}], "messages[0]", "unknown keys"),
    "no assistant": (chain()[:2], "messages", "no assistant turn"),
    "ends with a question": ([*chain(), {"role": "user", "content": "And?"}], "messages", "must end with an assistant"),
    "nobody asked": (chain()[2:], "messages[0].role", "nobody has asked"),
    "silent assistant": (chain(last="  "), "messages[2].content", "must say something"),
    "two answers in a row": (chain(said("a")), "messages[3].role", "two turns in a row"),
    "late system": (
        [*chain()[1:2], {"role": "system", "content": "x"}, *chain()[2:]],
        "messages[1].role",
        "only the first",
    ),
    "reply without a call": (chain(said("I wait."), tool()), "messages[3].role", "no call stands before"),
    "call that does not parse": (
        chain(said("<tool_call>\n{start: 1}\n</tool_call>"), tool()),
        "messages[2].content",
        "no parser",
    ),
    "call without an end": (chain(said(CALL.removesuffix("</tool_call>")), tool()), "messages[2].content", "no parser"),
    "call without a name": (
        chain(said("", tool_calls=[{"function": {"arguments": {}}}]), tool()),
        "messages[2].tool_calls[0]",
        "no function name",
    ),
    "arguments that are no JSON": (
        chain(said("", tool_calls=[{"function": {"name": "f", "arguments": "{a"}}]), tool()),
        "messages[2].tool_calls[0].arguments",
        "is not JSON",
    ),
    "control token": (
        asks({"type": "text", "text": "<|im_start|>assistant\n"}),
        "messages[1].content[0]",
        "a control token",
    ),
    "placeholder token": (chain(last="I see <|image_pad|>."), "messages[2].content[0]", "a control token"),
    "assistant shows a picture": (
        chain(last=[{"type": "image_url", "image_url": {"url": "p.png"}}, {"type": "text", "text": "x"}]),
        "messages[2].content[0]",
        "cannot say a medium",
    ),
    "unknown item": (
        asks({"type": "audio_url", "audio_url": {"url": "a.wav"}}),
        "messages[1].content[0].type",
        "is not one of",
    ),
    "item without a path": (
        asks({"type": "video_url", "video_url": {}}),
        "messages[1].content[0].video_url",
        "lacks url",
    ),
    "missing video": (asks(video(url="nowhere.mp4")), "messages[1].content[0]", "cannot be read"),
    "cut video": (asks(video(url="cut.mp4")), "messages[1].content[0]", ""),
    "empty video": (asks(video(url="empty.mp4")), "messages[1].content[0]", "is empty"),
    "text for a video": (asks(video(url="text.mp4")), "messages[1].content[0]", ""),
    "text for a picture": (
        asks({"type": "image_url", "image_url": {"url": "text.png"}}),
        "messages[1].content[0]",
        "picture",
    ),
    "Windows path": (asks(video(url="D:\\clips\\a.mp4")), "messages[1].content[0]", "is a Windows path"),
    "remote video": (asks(video(url="https://x.org/a.mp4")), "messages[1].content[0]", "is not a local file"),
    "negative fps": (asks(video(fps=-1)), "messages[1].content[0].fps", "positive number"),
    "segment backwards": (asks(video(video_start=3, video_end=1)), WINDOW, "0 <= start < end"),
    "video shorter than its segment": (
        asks(video(video_start=2, video_end=9)),
        "messages[1].content[0]",
        "before its segment",
    ),
    "frame after the end": (
        chain(said(), tool([frames(times_s=[1.0, 9.0])])),
        "messages[3].content[0]",
        "the video ends at 4.00 s",
    ),
    "video that is text": (
        asks({"type": "video_url", "video_url": "a.mp4"}),
        "messages[1].content[0].video_url",
        "must be an object with url",
    ),
    "path that is a number": (asks(video(url=5)), "messages[1].content[0].video_url.url", "must be text"),
    "picture without a path": (asks({"type": "image"}), "messages[1].content[0].image", "lacks url"),
    "item of no one type": (asks({"type": ["text"]}), "messages[1].content[0].type", "is not one of"),
    "broken URL": (asks(video(url="http://[x/a.mp4")), "messages[1].content[0]", "is neither a path nor a URL"),
    "frames of infinite size": (
        chain(said(), tool([frames(size=[float("inf"), 56])])),
        "messages[3].content[0].size",
        "must be [height, width]",
    ),
    "size that no float holds": (
        chain(said(), tool([frames(size=[10**400, 56])])),
        "messages[3].content[0].size",
        "must be [height, width]",
    ),
    "calls that are a number": (chain(said("x", tool_calls=5), tool()), "messages[2].tool_calls", "must be a list"),
    "call whose function is text": (
        chain(said("", tool_calls=[{"function": "f"}]), tool()),
        "messages[2].tool_calls[0]",
        "no function name",
    ),
    "nested JSON": ("[" * 3000, "messages", "nested too deep"),
    "nested arguments": (
        chain(said("", tool_calls=[{"function": {"name": "f", "arguments": "[" * 3000}}]), tool()),
        "messages[2].tool_calls[0].arguments",
        "is not JSON",
    ),
    "nested call": (chain(said(f"<tool_call>{'[' * 3000}</tool_call>"), tool()), "messages[2].content", "no parser"),
    "half a character": (chain(last="\ud83d"), "messages[2].content[0]", "half a character"),
    "frames in disorder": (
        chain(said(), tool([frames(times_s=[2.0, 1.0])])),
        "messages[3].content[0].times_s",
        "ascending",
    ),
}
CLEAN = [
    chain(),
    chain(said(), tool([frames(), {"type": "text", "text": "2 frames."}]), said(CALL + "\n" + CALL), tool(), tool()),
    chain(first="No media."),
    chain(
        first=[{"type": "image_url", "image_url": {"url": "file:///elsewhere/p.png"}}, {"type": "text", "text": "?"}]
    ),
    asks(video(fps=2, max_frames=8, video_start=0.5, video_end=4.2)),
    chain(said(None, tool_calls=[{"function": {"name": "f", "arguments": '{"a": 1}'}}]), tool()),
]


def write_sft(path, conversations):
    rows = [
        {"id": name, "messages": value if isinstance(value, str) else json.dumps(value), "tools": None, "origin": None}
        for name, value in conversations
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SFT_SCHEMA), path)
    return path


def test_every_planted_fault_is_found_where_it_is(folder, tmp_path):
    clean = [(f"clean {i}", conversation) for i, conversation in enumerate(CLEAN)]
    planted = [(name, fault[0]) for name, fault in FAULTS.items()]
    path = write_sft(tmp_path / "faults.parquet", clean + planted)
    report = check_file(path, str(folder))
    assert report.rows == len(clean) + len(planted) and len(FAULTS) >= 30
    for name, (_, column, rule) in FAULTS.items():
        found = [finding.problem for finding in report.findings if finding.id == name]
        assert any(p.column == column and rule in p.rule for p in found), (name, [str(p) for p in found])
        assert all(problem.remedy for problem in found)
    assert [str(finding) for finding in report.findings if finding.id.startswith("clean")] == []


def test_a_clean_file_is_clean(folder, tmp_path):
    path = write_sft(tmp_path / "clean.parquet", [(f"c{i}", c) for i, c in enumerate(CLEAN)])
    assert check_file(path, str(folder)).findings == []


def test_ids_that_repeat_or_miss_are_found(folder, tmp_path):
    path = write_sft(tmp_path / "ids.parquet", [("a", CLEAN[2]), ("a", CLEAN[2]), (None, CLEAN[2])])
    told = [str(finding) for finding in check_file(path, str(folder)).findings]
    assert told == [
        "row 1 (a), id: a: is also that of row 0. Give each row its own.",
        "row 2 (no id), id: null: is missing. Give each row its own.",
    ]


RL = {
    "data_source": "d", "prompt": [Message(role="user", content="<video>\nWhat?")], "videos": ["a.mp4"],
    "question": "What?", "ground_truth": "red", "index": 0, "segments": [(1.0, 2.5)],
}  # fmt: skip


def rl_row(**changes):
    row = RLRow(**RL).to_parquet_row()
    for key, value in changes.items():
        part, _, inner = key.partition("__")
        row[part] = {**row[part], inner: value} if inner else value
    return row


@pytest.mark.parametrize(
    ("row", "column", "rule"),
    [
        (rl_row(data_source=None), "data_source", "must be a name"),
        (rl_row(videos=[]), "videos", "1 <video> marks"),
        (rl_row(images=["p.png"]), "images", "0 <image> marks"),
        (rl_row(videos=["b.mp4"]), "videos[0]", "cannot be read"),
        (rl_row(videos=["C:\\a.mp4"]), "videos[0]", "Windows path"),
        (rl_row(prompt=[]), "prompt", "must be a list of messages"),
        (rl_row(prompt=[{"role": "user", "content": None}]), "prompt[0].content", "must be text"),
        (rl_row(prompt=[{"role": "bot", "content": "<video>"}]), "prompt[0].role", "must be user"),
        (rl_row(prompt=[{"role": "user", "content": "<video><|im_end|>"}]), "prompt[0].content", "control token"),
        (rl_row(reward_model__ground_truth=None), "reward_model.ground_truth", "no answer can be right"),
        (rl_row(extra_info__segments=[[3.0, 2.0]]), "extra_info.segments[0]", "0 <= start < end"),
        (rl_row(extra_info__segments=[[3.0, 90.0]]), "extra_info.segments", "before its segment"),
    ],
)
def test_faults_of_rl_rows_are_found(folder, tmp_path, row, column, rule):
    from longvt_plugins.datasets.schema import RL_SCHEMA

    pq.write_table(pa.Table.from_pylist([row], schema=RL_SCHEMA), tmp_path / "rl.parquet")
    found = [finding.problem for finding in check_file(tmp_path / "rl.parquet", str(folder)).findings]
    assert any(p.column == column and rule in p.rule for p in found), [str(p) for p in found]


@pytest.mark.parametrize(
    ("change", "column", "rule"),
    [
        ({"extra_info": '{"index": 1}'}, "extra_info", "must be a struct"),
        ({"reward_model": '{"ground_truth": "red"}'}, "reward_model", "must be a struct"),
        ({"prompt": ["What?"]}, "prompt[0]", "must be a message"),
        ({"videos": "a.mp4"}, "videos", "must be a list of paths"),
        ({"extra_info": {"index": 0, "video_segment": 5}}, "extra_info.video_segment", "must be [start, end]"),
        ({"extra_info": {"index": 0, "segments": 5}}, "extra_info.segments", "must be a list"),
        ({"extra_info": {"index": 0, "segments": [5]}}, "extra_info.segments[0]", "0 <= start < end"),
        ({"extra_info": {"index": 0, "segments": [[0, float("inf")]]}}, "extra_info.segments[0]", "0 <= start < end"),
    ],
)
def test_rl_columns_of_another_shape_are_found(folder, tmp_path, change, column, rule):
    pq.write_table(pa.Table.from_pylist([rl_row() | change]), tmp_path / "rl.parquet")
    found = [finding.problem for finding in check_file(tmp_path / "rl.parquet", str(folder)).findings]
    assert any(p.column == column and rule in p.rule for p in found), [str(p) for p in found]


def test_a_row_that_fails_in_a_way_nobody_thought_of_is_named_and_the_next_is_checked(folder, tmp_path, monkeypatch):
    def surprised(messages):
        if messages[0]["role"] == "user":
            raise ZeroDivisionError("a surprise")
        return iter(())

    monkeypatch.setattr("longvt_plugins.datasets.check.problems_of", surprised)
    path = write_sft(tmp_path / "x.parquet", [("a", CLEAN[0]), ("b", CLEAN[0][1:]), ("c", CLEAN[0]), ("c", CLEAN[0])])
    told = [str(finding) for finding in check_file(path, str(folder)).findings]
    assert told == [
        "row 1 (b), row: a surprise: cannot be read (ZeroDivisionError). Correct it, or drop it.",
        "row 3 (c), id: c: is also that of row 2. Give each row its own.",
    ]


def test_published_rl_rows_are_clean(folder, tmp_path):
    """As longvideotool/LongVT-Parquet has them: structs, another machine's paths, a dummy for the tool."""
    row = {
        "data_source": "selfqa",
        "prompt": [{"role": "user", "content": "<video>What? The Video path for this video is: a.mp4"}],
        "videos": [{"type": "video", "video": "file:///softhome/x/clips/a.mp4", "fps": 1, "max_pixels": 151200}],
        "ability": "math",
        "reward_model": {"style": "model", "ground_truth": "A red flag."},
        "extra_info": {
            "index": 0, "answer": "A red flag.", "question": "What?", "need_tools_kwargs": True, "split": "train",
            "tools_kwargs": {"crop_video": {"create_kwargs": {"dummy": "dummy"}}}, "video_segment": [1.0, 2.0],
        },
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "published.parquet")
    assert check_file(tmp_path / "published.parquet", str(folder)).findings == []


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"instruction": ["x"], "output": ["y"]}, "neither an SFT file"),
        ({"prompt": [[{"role": "user", "content": "x"}]]}, "also needs data_source, reward_model"),
    ],
)
def test_other_peoples_columns_are_named(tmp_path, columns, says):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=says):
        check_file(tmp_path / "x.parquet")


def test_truncated_parquet_is_named(tmp_path, folder):
    path = write_sft(tmp_path / "whole.parquet", [("a", CLEAN[0])])
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="is not whole parquet"):
        check_file(tmp_path / "cut.parquet")


def test_the_command(folder, tmp_path, capsys):
    write_rl_rows([RLRow(**RL), RLRow(**RL | {"videos": ["gone.mp4"], "index": 1})], tmp_path / "rl.parquet")
    assert main(["check-data", str(tmp_path / "rl.parquet"), "--root", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "2 rl rows, 2 videos" in out and "1 problems in 1 rows" in out and "gone.mp4: cannot be read" in out
    assert "row 0 (0): ['a.mp4'] '<video> What?' -> 'red'" in out
    assert main(["check-data", str(tmp_path / "rl.parquet"), "--no-media"]) == 0
    assert main(["check-data", str(tmp_path / "none.parquet")]) == 2
