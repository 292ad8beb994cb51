"""The dataset: files of any shape, bad rows as data, and a state that StatefulDataLoader resumes exactly."""

from __future__ import annotations

import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

from longvt_plugins.datasets.lmms.options import bad_rows_limit
from longvt_plugins.datasets.schema import SFT_SCHEMA
from longvt_plugins.errors import ConfigError, DataError, ProfileError
from longvt_plugins.tools.tool_file import PACKAGED


def write(folder, name, rows, schema=None):
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / name)
    return {"path": str(folder / name), "data_folder": str(folder)}


def decoded(built, row):
    return built.processor.processor.tokenizer.decode(built.sample(row)["input_ids"])


def own(built, row):
    sample = built.sample(row)
    return built.processor.processor.tokenizer.decode(sample["input_ids"][sample["labels"] != -100])


# As longvideotool/LongVT-Parquet stores them: nested structs, nulls for what a neighbour has, the reply of the tool in
# a user turn between literal tags.
PUBLISHED = [
    {
        "id": "selftrace_0",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant. # Tools ..."}]},
            {
                "role": "user",
                "content": [
                    {"type": "video_url", "video_url": {"url": "file:///softhome/x/a.mp4"}},
                    {"type": "text", "text": "What? The Video path for this video is: a.mp4"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {
                        "type": "text",
                        "text": '<think>t</think><tool_call>{"name":"crop_video","arguments":{"video_path":"a.mp4",'
                        '"start_time":0.0,"end_time":2.0}}</tool_call>',
                    }
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<tool_response>"},
                    {"type": "image_url", "image_url": {"url": "picture.png"}},
                    {"type": "image_url", "image_url": {"url": "picture.png"}},
                    {"type": "text", "text": "The tool executed successfully.</tool_response>"},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "<think>u</think><answer>red</answer>"}]},
        ],
    }
]


def test_published_rows_load_unchanged_beside_ours(media, tmp_path):
    """Three files that stock concatenation cannot join: nested with videos, nested with pictures, JSON strings."""
    picture = [
        {
            "id": "i",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "picture.png"}},
                        {"type": "text", "text": "q"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
            ],
        }
    ]
    files = [write(tmp_path, "nested.parquet", PUBLISHED), write(tmp_path, "pictures.parquet", picture)]
    for file in files:
        file["data_folder"] = str(media.folder)
    files.append({"path": str(media.folder / "chains.parquet"), "data_folder": str(media.folder)})
    built = media.build("qwen2_5_vl", dataset={"datasets": files})
    assert len(built) == 2 + len(media.chains)
    assert "<tool_response>\n<|vision_start|>" in decoded(built, 0)
    assert "The tool executed successfully.\n</tool_response><|im_end|>\n<|im_start|>assistant" in decoded(built, 0)
    said = [PUBLISHED[0]["messages"][i]["content"][0]["text"] for i in (2, 4)]
    assert own(built, 0) == "".join(turn + "<|im_end|>" for turn in said)
    assert own(built, 1) == "a<|im_end|>" and own(built, 6) == "4<|im_end|>"


def test_calls_as_structures_are_rendered_not_dropped(media, tmp_path):
    call = {"function": {"name": "crop_video", "arguments": {"start_time": 1.5, "frames": None}}}
    rows = [
        {
            "messages": [
                {"role": "user", "content": "Look.", "tool_calls": None},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "No frames.", "tool_calls": None},
                {"role": "assistant", "content": "Blue.", "tool_calls": None},
            ]
        }
    ]
    built = media.build("qwen2_5_vl", dataset={"datasets": [write(tmp_path, "calls.parquet", rows)]})
    written = '\n<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 1.5}}\n</tool_call><|im_end|>'
    assert own(built, 0) == written + "Blue.<|im_end|>"


def test_the_recipes_tools_are_shown_to_rows_that_do_not_say(media, tmp_path):
    messages = json.dumps([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}])
    rows = [{"messages": messages, "tools": tools} for tools in (None, "[]")]
    built = media.build("qwen2_5_vl", dataset={"datasets": [write(tmp_path, "tools.parquet", rows)]}, tools=PACKAGED)
    assert ["crop_video" in decoded(built, row) for row in (0, 1)] == [True, False]


def test_marks_take_the_media_of_their_columns(media, tmp_path):
    messages = [{"role": "user", "content": "<image>Is it in <video>?"}, {"role": "assistant", "content": "<image> no"}]
    rows = [{"messages": messages, "images": ["picture.png"], "videos": [{"video": "a.mp4", "fps": 0.5}]}]
    file = write(tmp_path, "marks.parquet", rows) | {"data_folder": str(media.folder)}
    built = media.build("qwen2_5_vl", dataset={"datasets": [file]}, profile="native")
    sample = built.sample(0)
    assert len(sample["image_grid_thw"]) == 1 and sample["video_grid_thw"][0][0] == 2
    assert own(built, 0) == "<image> no<|im_end|>"


def text_rows(count):
    question = lambda i: [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": f"{i}" * (i % 7 + 1)}]  # noqa: E731
    return [{"id": f"r{i}", "messages": json.dumps(question(i))} for i in range(count)]


def with_bad(rows, count):
    return rows[:-count] + [{"id": f"bad{i}", "messages": "{broken"} for i in range(count)]


def test_bad_rows_are_left_out_counted_and_listed(media, tmp_path, capsys):
    file = write(tmp_path, "rows.parquet", with_bad(text_rows(20), 2))
    bad_rows = tmp_path / "bad"
    built = media.build("qwen2_5_vl", dataset={"datasets": [file]}, max_bad_rows=0.1, bad_rows=str(bad_rows))
    samples = list(itertools.islice(iter(built), 36))
    assert len({tuple(s["input_ids"].tolist()) for s in samples}) == 18
    listed = [json.loads(line) for line in (bad_rows / "consumer_0.jsonl").read_text().splitlines()]
    assert [record["row"] for record in listed] == [
        "row 18 of rows.parquet (id bad0)",
        "row 19 of rows.parquet (id bad1)",
    ]
    assert all("is not JSON" in record["reason"] for record in listed)
    assert "longvt: bad: row 18 of rows.parquet (id bad0): DataError: messages" in capsys.readouterr().err
    assert set(built.state_dict()["bad"]) == {18, 19}


def test_too_many_bad_rows_stop_the_run(media, tmp_path):
    file = write(tmp_path, "rows.parquet", with_bad(text_rows(20), 3))
    built = media.build("qwen2_5_vl", dataset={"datasets": [file]}, max_bad_rows=0.1)
    with pytest.raises(DataError, match=r"3 bad rows .*of 20 rows(.|\n)*row 19 of rows.parquet \(id bad2\)"):
        list(itertools.islice(iter(built), 40))


@pytest.mark.parametrize(
    ("rows", "consumers", "share", "limits"),
    [
        (5000, 64, 0.01, [5, 8, 45, 50, 50]),  # 8 GPUs x 8 workers: 79 rows each in the first epoch
        (400, 4, 0.01, [4, 4, 4, 4, 4]),
        (400, 1, 0.01, [4, 4, 4, 4, 4]),
        (400, 4, 0, [0, 0, 0, 0, 0]),
    ],
)
def test_meeting_more_bad_rows_than_ones_part_by_chance_or_in_time_is_not_meeting_too_many(
    rows, consumers, share, limits
):
    """Chance is allowed for until a consumer has taken as many rows as there are; then the share itself holds."""
    assert [bad_rows_limit(rows, consumers, share, taken) for taken in (0, 200, 2800, 5000, 99999)] == limits


def test_overlong_rows_are_listed_and_not_held_against_the_data(media, tmp_path, capsys):
    built = media.build(
        "qwen2_5_vl", dataset={"datasets": [write(tmp_path, "r.parquet", text_rows(20))], "max_length": 40}
    )
    lengths = [len(sample["input_ids"]) for sample in itertools.islice(iter(built), 30)]
    assert max(lengths) <= 40
    assert "longvt: overlong: row 6 of r.parquet (id r6)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), (b"", "is not whole parquet"), (b"PAR1 cut short", "is not whole parquet")],
)
def test_a_file_that_is_no_parquet_is_named(media, tmp_path, content, says):
    path = tmp_path / "rows.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        media.build("qwen2_5_vl", dataset={"datasets": [{"path": str(path)}]})


def test_a_file_without_rows_is_named(media, tmp_path):
    pq.write_table(SFT_SCHEMA.empty_table(), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="has no rows"):
        media.build("qwen2_5_vl", dataset={"datasets": [{"path": str(tmp_path / "empty.parquet")}]})


@pytest.mark.parametrize(
    ("dataset", "longvt", "says"),
    [
        ({"datasets": [{"path": "x.json", "data_type": "json"}]}, {}, "data_type 'json'"),
        ({}, {"profil": "native"}, "known are profile"),
        ({}, {"profile": "films"}, "known are frames-time, longvt-compat, native"),
        ({}, {"overview": {"framerate": 1}}, "overview keys"),
        ({}, {"overview": {"patch": 30}}, "this checkpoint needs 28"),
        ({}, {"overview": {"max_pixels": 3136}}, "overview: max_pixels=3136: the model's lies between 4704"),
        ({}, {"max_bad_rows": 7}, "share between 0 and 1"),
        ({}, {"tools": "nowhere.yaml"}, "is not a tool configuration"),
        ({"video_sampling_strategy": "frame_num"}, {}, "samples by fps"),
    ],
)
def test_options_that_cannot_work_are_refused(media, dataset, longvt, says):
    with pytest.raises((ConfigError, ProfileError), match=says):
        media.build("qwen2_5_vl", dataset=dataset, **longvt)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("packing", [False, True])
def test_the_loader_resumes_without_loss_or_repetition(media, tmp_path, packing, workers):
    file = write(tmp_path, "rows.parquet", with_bad(text_rows(23), 1))
    dataset = {"datasets": [file], "shuffle": True, "packing": packing, "packing_length": 150}

    def loader():
        built = media.build("qwen2_5_vl", dataset=dataset, max_bad_rows=0.2)
        return StatefulDataLoader(built, batch_size=2, collate_fn=built.get_collator(), num_workers=workers)

    def take(iterator, count):
        return [next(iterator)["input_ids"].tolist() for _ in range(count)]

    whole = take(iter(loader()), 9)
    first = loader()
    before = take(iterator := iter(first), 4)
    state = first.state_dict()
    take(iterator, 2)  # what a killed run does after its last checkpoint
    second = loader()
    second.load_state_dict(state)
    assert before + take(iter(second), 5) == whole
