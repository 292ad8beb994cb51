"""LongVTDataset: the overview in the prompt, the row's videos for the tool, bad videos before the run."""

from __future__ import annotations

import asyncio

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from longvt_plugins.datasets import LongVTDataset
from longvt_plugins.datasets.schema import Message, RLRow, write_rl_rows
from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.tokens.media import media_of
from longvt_plugins.video import clip_store


def test_a_video_becomes_timed_frames_by_reference(dataset):
    content = dataset[0]["raw_prompt"][1]["content"]
    labels = [part["text"] for part in content if part["type"] == "text"][:6]
    assert labels == ["[2.0 s]", "[6.0 s]", "[10.0 s]", "[14.0 s]", "[18.0 s]", "[22.0 s]"]
    (reference,) = media_of(dataset[0]["raw_prompt"])
    assert reference.path.endswith("street_1.mp4") and len(reference.times_s) == 6
    assert not any(isinstance(value, np.ndarray | Image.Image) for part in content for value in part.values())


def test_pixels_come_from_the_clip_store(dataset):
    messages = dataset[0]["raw_prompt"]
    images, videos, audios = asyncio.run(LongVTDataset.process_multi_modal_info(messages, 14, None))
    assert videos is None and audios is None
    (reference,) = media_of(messages)
    np.testing.assert_array_equal(np.stack([np.asarray(i) for i in images]), clip_store.get(reference))


def test_the_tool_gets_the_rows_own_videos(dataset):
    videos = dataset[0]["tools_kwargs"]["crop_video"]["create_kwargs"]["videos"]
    assert [video.rsplit("/", 1)[1] for video in videos] == ["street_1.mp4"]


@pytest.fixture(scope="module")
def processor(demo):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(demo.folder / "model")


@pytest.fixture
def build(demo, tmp_path, processor):
    """A dataset over rows, or files of rows."""

    def build(*files, **overrides):
        paths = []
        for number, rows in enumerate(files):
            paths.append(str(tmp_path / f"rows_{number}.parquet"))
            if isinstance(rows[0], RLRow):
                write_rl_rows(rows, paths[-1])
            else:
                pq.write_table(pa.Table.from_pylist(rows), paths[-1])
        config = demo.compose(*(f"{key}={value}" for key, value in overrides.items())).data
        return LongVTDataset(paths, processor.tokenizer, config, processor)

    return build


def row(index=0, content="<video>\nWhat?", videos=("street_0.mp4",), **changes):
    prompt = [Message(role="user", content=content)]
    return RLRow(
        data_source="d",
        prompt=prompt,
        videos=list(videos),
        question="What?",
        ground_truth="red",
        index=index,
        **changes,
    )


def test_a_missing_or_broken_video_stops_before_the_run(build, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DataError, match=r"2 of the rows(.|\n)*row 1: .*nowhere.mp4: cannot(.|\n)*row 2: .*text\.mp4"):
        build([row(0), row(1, videos=["nowhere.mp4"]), row(2, videos=[str(tmp_path / "text.mp4")])])


def test_an_unknown_option_is_refused(build):
    with pytest.raises(ConfigError, match="vidoe_root"):
        build([row()], **{"+data.longvt.vidoe_root": "x"})


def published(index):
    """As longvideotool/LongVT-Parquet has them."""
    return {
        "data_source": "selfqa",
        "prompt": [{"role": "user", "content": "<video>What? The Video path for this video is: street_0.mp4"}],
        "videos": [{"type": "video", "video": "file:///softhome/clips/street_0.mp4", "fps": 1, "max_pixels": 151200}],
        "ability": "math",
        "reward_model": {"style": "model", "ground_truth": "A red flag."},
        "extra_info": {
            "index": index,
            "question": "What?",
            "need_tools_kwargs": True,
            "tools_kwargs": {"crop_video": {"create_kwargs": {"dummy": "dummy"}}},
            "video_segment": [1.0, 2.0],
            "split": "train",
        },
    }


def test_published_rows_load_unchanged_beside_ours(build, demo):
    from verl.utils.dataset.rl_dataset import collate_fn

    dataset = build([published(7)], [row(8, segments=[(3, 4)])])
    first, second = dataset[0], dataset[1]
    assert first["extra_info"]["segments"] == [[1.0, 2.0]] and second["extra_info"]["segments"] == [[3.0, 4.0]]
    video = str(demo.folder / "data" / "street_0.mp4")
    assert all(r["tools_kwargs"] == {"crop_video": {"create_kwargs": {"videos": [video]}}} for r in (first, second))
    assert first["reward_model"] == {"style": "model", "ground_truth": "A red flag."} and first["index"] == 7
    assert first.keys() == second.keys() and "agent_name" not in first
    batch = collate_fn([first, second])
    assert {len(values) for values in batch.values()} == {2}


def test_text_pictures_tools_and_none_mix(build, tmp_path):
    Image.new("RGB", (200, 120), "red").save(tmp_path / "p.png")
    picture = str(tmp_path / "p.png")
    rows = [
        row(0),
        row(1, "No media.", []),
        row(2, "<image> or <video>?", images=[picture], tools=[]),
        row(3, tools=["crop_video"], agent_name="single_turn_agent"),
    ]
    dataset = build(rows)
    assert [r["agent_name"] for r in dataset] == ["longvt_agent"] * 3 + ["single_turn_agent"]
    assert dataset.agents == {"longvt_agent", "single_turn_agent"} and build(rows[:1]).agents == set()
    assert [bool(r["tools_kwargs"]) for r in dataset] == [True, False, False, True]
    assert [r["extra_info"].get("tool_selection") for r in dataset] == [None, None, ["none"], ["crop_video"]]
    images, _, _ = asyncio.run(LongVTDataset.process_multi_modal_info(dataset[2]["raw_prompt"], 14, None))
    assert images[0].getpixel((5, 5)) == (255, 0, 0) and len(images) == 7
    assert isinstance(dataset[1]["raw_prompt"][0]["content"], str)


def tokens(dataset, processor, item):
    """What the processor makes of a prompt."""
    prompt = dataset[item]["raw_prompt"]
    selected = dataset[item]["extra_info"].get("tool_selection")
    tools = [t for t in dataset.tool_schemas if selected is None or t["function"]["name"] in selected]
    text = processor.apply_chat_template(prompt, tools=tools or None, tokenize=False, add_generation_prompt=True)
    images, _, _ = asyncio.run(LongVTDataset.process_multi_modal_info(prompt, 14, None))
    return len(processor(text=[text], images=images)["input_ids"][0])


def test_prompts_are_counted_exactly_without_decoding(build, processor, tmp_path, monkeypatch):
    Image.new("RGB", (200, 121), "red").save(tmp_path / "p.png")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "small.png")
    rows = [
        row(0),
        row(1, "<video><video>?", ["street_0.mp4", "street_1.mp4"]),
        row(2, "<image><image>?", [], images=[str(tmp_path / "p.png"), str(tmp_path / "small.png")]),
        row(3, "No media at all.", [], tools=[]),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(clip_store, "get", lambda ref: pytest.fail("decoded"))
        dataset = build(rows)
        counted = [dataset._tokens(dataset.dataframe[i], dataset.overview) for i in range(4)]
    assert counted == [tokens(dataset, processor, i) for i in range(4)]


def test_a_prompt_that_cannot_fit_is_named_dropped_or_shrunk(build, processor, capsys):
    rows = [row(0, "No media.", [], tools=[]), row(1), row(2, "<video><video>?", ["street_0.mp4", "street_1.mp4"])]
    limit = {"data.max_prompt_length": 400}
    with pytest.raises(
        DataError, match=r"1 of the rows.*do not fit into data.max_prompt_length=400:\n  row 2: \d+ tok"
    ):
        build(rows, **limit)
    assert len(build(rows, **limit, **{"data.filter_overlong_prompts": "true"})) == 2
    assert "0 were shrunk and 1 dropped" in capsys.readouterr().out
    shrunk = build(rows, **limit, **{"+data.longvt.shrink": "true"})
    assert len(shrunk) == 3 and "1 were shrunk and 0 dropped" in capsys.readouterr().out
    assert len(media_of(shrunk[1]["raw_prompt"])[0].times_s) == 6
    frames = [len(ref.times_s) for ref in media_of(shrunk[2]["raw_prompt"])]
    assert 2 <= frames[0] < 6 and tokens(shrunk, processor, 2) <= 400
