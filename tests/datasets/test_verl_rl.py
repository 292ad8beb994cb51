"""LongVTDataset: the overview in the prompt, the row's videos for the tool, bad videos before the run."""

from __future__ import annotations

import asyncio

import numpy as np
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


def build(demo, tmp_path, tokenizer, video, **overrides):
    prompt = [Message(role="user", content="<video>\nWhat?")]
    row = RLRow(data_source="d", prompt=prompt, videos=[video], question="What?", ground_truth="red", index=0)
    write_rl_rows([row], str(tmp_path / "rows.parquet"))
    config = demo.compose(*(f"{key}={value}" for key, value in overrides.items())).data
    return LongVTDataset(str(tmp_path / "rows.parquet"), tokenizer, config, None)


def test_a_missing_or_broken_video_stops_before_the_run(demo, tmp_path, tokenizer):
    with pytest.raises(DataError, match=r"row 0: .*nowhere.mp4: cannot be read"):
        build(demo, tmp_path, tokenizer, "nowhere.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DataError, match=r"text\.mp4"):
        build(demo, tmp_path, tokenizer, str(tmp_path / "text.mp4"))


def test_an_unknown_option_is_refused(demo, tmp_path, tokenizer):
    with pytest.raises(ConfigError, match="vidoe_root"):
        build(demo, tmp_path, tokenizer, "street_0.mp4", **{"+data.longvt.vidoe_root": "x"})
