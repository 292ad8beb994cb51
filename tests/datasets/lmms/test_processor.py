"""Golden samples: what is supervised, where tokens stand, which pixels are shown, in both families and profiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from longvt_plugins.datasets.chains import read_messages
from longvt_plugins.datasets.lmms import processor as processor_module
from longvt_plugins.datasets.media import plan_media
from longvt_plugins.datasets.problems import text_of
from longvt_plugins.tokens.labels import Segment
from longvt_plugins.tokens.positions import position_ids
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
    plan = plan_media(read_messages(built._files[0][0]), media.folder, built.options.media)
    pictures = [Image.fromarray(frame) for ref in plan.images for frame in clip_store.get(ref)]
    plain = built.processor.processor.image_processor(images=pictures, return_tensors="pt")
    sample = built.sample(0)
    torch.testing.assert_close(sample["pixel_values"], plain["pixel_values"], rtol=0, atol=0)
    assert torch.equal(sample["image_grid_thw"], plain["image_grid_thw"])


def test_tokens_are_those_of_the_checkpoints_own_processor(media, family):
    """Segment by segment gives the ids of the plain processor for a conversation without odd white space."""
    built = media.build(family, profile="frames-time")
    row = next(i for i, chain in enumerate(media.chains) if chain.id == "picture and video")
    plan = plan_media(read_messages(built._files[0][row]), media.folder, built.options.media)
    processor = built.processor.processor
    text = processor.apply_chat_template(plan.messages, tokenize=False)
    pictures = [Image.fromarray(pixels) for pixels in plan.image_pixels()]
    ids = processor(text=[text], images=pictures)["input_ids"][0]
    sample = built.sample(row)["input_ids"].tolist()
    assert list(ids) == [*sample, *processor.tokenizer.encode("\n", add_special_tokens=False)]


def test_native_videos_are_those_of_the_checkpoints_own_processor(media, family):
    built = media.build(family, profile="native")
    plan = plan_media(read_messages(built._files[0][1]), media.folder, built.options.media)
    processor = built.processor.processor
    text = processor.apply_chat_template(plan.messages, tokenize=False)
    videos = [torch.from_numpy(np.array(clip_store.get(ref))).permute(0, 3, 1, 2) for ref in plan.videos]
    # Times as numbers of frames at 10 frames/s, which is how Qwen3-VL's processor is told them.
    metadata = [
        {"fps": 10.0, "frames_indices": [round(10 * t) for t in ref.times_s], "total_num_frames": 100}
        for ref in plan.videos
    ]
    done = processor(
        text=[text],
        videos=videos,
        video_metadata=metadata,
        do_sample_frames=False,
        do_resize=False,
        return_tensors="pt",
    )
    sample = built.sample(1)
    assert done["input_ids"][0].tolist()[: len(sample["input_ids"])] == sample["input_ids"].tolist()
    torch.testing.assert_close(sample["pixel_values_videos"], done["pixel_values_videos"], rtol=0, atol=0)


def test_a_checkpoint_of_the_other_family_is_refused(media):
    from longvt_plugins.errors import ConfigError

    with pytest.raises(ConfigError, match="the checkpoint is a qwen3_vl"):
        config = {"processor_name": str(media.checkpoint("qwen3_vl")), "processor_type": "longvt_qwen2_5_vl"}
        media.build("qwen2_5_vl", dataset={"processor_config": config})


def test_the_saved_processor_keeps_the_template_that_was_trained_with(media, family, tmp_path):
    from transformers import AutoProcessor

    built = media.build(family)
    built.processor.save_pretrained(str(tmp_path))
    assert AutoProcessor.from_pretrained(tmp_path).chat_template == built.processor.processor.chat_template
