"""Golden samples: what is supervised, where tokens stand, which pixels are shown, in both families and profiles."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from longvt_plugins.datasets.chains import read_messages
from longvt_plugins.datasets.lmms import processor as processor_module
from longvt_plugins.datasets.media import plan_media
from longvt_plugins.datasets.problems import text_of
from longvt_plugins.errors import ConfigError, ProfileError
from longvt_plugins.tokens.labels import Segment
from longvt_plugins.tokens.positions import position_ids
from longvt_plugins.tokens.profiles import check_stamp, stamp
from longvt_plugins.tokens.render import render
from longvt_plugins.video import clip_store

PROFILES = ("frames-time", "native")


@pytest.fixture(scope="module", params=PROFILES)
def built(request, media, family):
    return media.build(family, profile=request.param)


def own_text(sample, tokenizer) -> str:
    return tokenizer.decode(sample["input_ids"][sample["labels"] != -100])


def check_golden(built, chains) -> None:
    tokenizer = built.processor.processor.tokenizer
    for row, chain in enumerate(chains):
        sample = built.sample(row)
        said = [text_of(message) + "<|im_end|>" for message in chain.messages if message["role"] == "assistant"]
        ids, labels = sample["input_ids"], sample["labels"]
        assert own_text(sample, tokenizer) == "".join(said), chain.id
        supervised = labels != -100
        assert torch.equal(labels[supervised], ids[supervised])
        starts = (supervised & ~torch.cat([torch.tensor([False]), supervised[:-1]])).nonzero().flatten().tolist()
        assert len(starts) == len(said), chain.id
        header = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
        assert all(ids[start - len(header) : start].tolist() == header for start in starts)


def test_only_the_policys_own_words_are_supervised(built, media):
    check_golden(built, media.chains)


def shift(ids, labels):
    return ids, np.roll(labels, 1)


def everything(ids, labels):
    return ids, ids


def without_the_end(ids, labels):
    return ids, np.where(np.append(labels[1:], -100) == -100, -100, labels)


@pytest.mark.parametrize("mutation", [shift, everything, without_the_end])
def test_a_mutated_mask_fails_the_golden_test(media, monkeypatch, mutation):
    built = media.build("qwen2_5_vl")
    original = processor_module.token_labels
    monkeypatch.setattr(processor_module, "token_labels", lambda *a: mutation(*original(*a)))
    with pytest.raises(AssertionError):
        check_golden(built, media.chains)


def test_supervised_tool_turns_fail_the_golden_test(media, monkeypatch):
    """What lmms-engine's own processors do."""
    original = processor_module.token_labels

    def with_tools(segments, encode):
        return original([Segment(s.text, own=s.own or "<tool_response>" in s.text) for s in segments], encode)

    monkeypatch.setattr(processor_module, "token_labels", with_tools)
    with pytest.raises(AssertionError):
        check_golden(media.build("qwen2_5_vl"), media.chains)


def test_positions_are_those_of_the_one_rule(built, media):
    for row, chain in enumerate(media.chains):
        sample = built.sample(row)
        grids = {kind: sample.get(f"{kind}_grid_thw") for kind in ("image", "video")}
        seconds = {"two videos": [3.0, 4.0], "tool chain": [2.4], "picture and video": [2.4]}.get(chain.id, [])
        if grids["video"] is None:
            seconds = []
        ours = position_ids(sample["input_ids"], grids["image"], grids["video"], seconds, built.processor.spec)
        np.testing.assert_array_equal(sample["position_ids"].numpy(), ours)


def test_each_video_has_its_own_rate(media):
    sample = media.build("qwen2_5_vl", profile="native").sample(1)
    (first, second), video_id = sample["video_grid_thw"].tolist(), 4
    spec = media.build("qwen2_5_vl").processor.spec
    at = (sample["input_ids"] == spec.video_token_id).nonzero().flatten()
    times = sample["position_ids"][0, at].tolist()
    starts = [0, first[0] * first[1] * first[2] // video_id]
    steps = []
    for start, (frames, height, width) in zip(starts, (first, second), strict=True):
        each = height * width // 4
        steps.append([times[start + each * i] - times[start] for i in range(frames)])
    # Frames every 1.5 s and every 2 s, two of them a grid, two positions a second.
    assert steps == [[0, 6], [0, 8]]


def test_frames_stand_after_their_true_times(media, family):
    built = media.build(family, profile="frames-time")
    decoded = built.processor.processor.tokenizer.decode(built.sample(1)["input_ids"])
    assert "[0.7 s]<|vision_start|>" in decoded and "[2.0 s]<|vision_start|>" in decoded


def test_pixels_are_the_clip_stores_and_what_the_plain_processor_makes_of_them(media, family):
    """do_resize is off here and on in a rollout: planned sizes are sizes that the processor keeps."""
    built = media.build(family, profile="frames-time")
    plan = plan_media(read_messages(built.rows[0]), media.folder, built.options.media)
    pictures = [Image.fromarray(frame) for ref in plan.images for frame in clip_store.get(ref)]
    plain = built.processor.processor.image_processor(images=pictures, return_tensors="pt")
    sample = built.sample(0)
    torch.testing.assert_close(sample["pixel_values"], plain["pixel_values"], rtol=0, atol=0)
    assert torch.equal(sample["image_grid_thw"], plain["image_grid_thw"])


def test_tokens_are_those_of_rendering_at_once(built, media):
    """``tokens.render`` is what loops and servers equal; here for a conversation without odd white space."""
    row = next(i for i, chain in enumerate(media.chains) if chain.id == "two videos")
    plan = plan_media(read_messages(built.rows[row]), media.folder, built.options.media)
    processor, sample = built.processor.processor, built.sample(row)
    ids, features = render(processor, plan.messages)
    assert ids == [*sample["input_ids"].tolist(), *processor.tokenizer.encode("\n", add_special_tokens=False)]
    for name in features.keys() & {"pixel_values", "pixel_values_videos"}:
        np.testing.assert_array_equal(sample[name].numpy(), features[name])


def test_a_checkpoint_of_the_other_family_is_refused(media):
    with pytest.raises(ConfigError, match="the checkpoint is a qwen3_vl"):
        config = {"processor_name": str(media.checkpoint("qwen3_vl")), "processor_type": "longvt_qwen2_5_vl"}
        media.build("qwen2_5_vl", dataset={"processor_config": config})


def test_the_saved_processor_keeps_the_template_that_was_trained_with(media, family, tmp_path):
    from transformers import AutoProcessor

    built = media.build(family)
    built.processor.save_pretrained(str(tmp_path))
    assert AutoProcessor.from_pretrained(tmp_path).chat_template == built.processor.processor.chat_template
    check_stamp(tmp_path, "frames-time")


def test_a_checkpoint_of_another_media_profile_is_refused(media, tmp_path):
    shutil.copytree(media.checkpoint("qwen2_5_vl"), tmp_path / "model")
    stamp(tmp_path / "model", "longvt-compat")
    config = {"processor_name": str(tmp_path / "model"), "processor_type": "longvt_qwen2_5_vl"}
    with pytest.raises(ProfileError, match="was made with media profile longvt-compat"):
        media.build("qwen2_5_vl", dataset={"processor_config": config})


def test_the_compat_profile_names_the_path_and_shows_no_times(media):
    built = media.build("qwen2_5_vl", profile="longvt-compat")
    decoded = built.processor.processor.tokenizer.decode(built.sample(0)["input_ids"])
    assert f"The Video path for this video is: {media.folder / 'a.mp4'}<|im_end|>" in decoded
    assert " s]<|vision_start|>" not in decoded
