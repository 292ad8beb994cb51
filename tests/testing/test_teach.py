"""Only what the policy says is taught, after the prompt that RL shows."""

import random

import pytest
import torch
from transformers import AutoConfig, AutoProcessor

from longvt_plugins.datasets import LongVTDataset
from longvt_plugins.testing.teach import Setting, demonstrate, sample_of, supervised
from longvt_plugins.tokens.labels import IGNORE
from longvt_plugins.tokens.media import media_of
from longvt_plugins.tokens.positions import PositionSpec
from longvt_plugins.tokens.profiles import PROFILES

_ = IGNORE


def test_own_pieces_are_found_in_order():
    assert supervised([9, 1, 2, 9, 3, 9], [[1, 2], [3]]) == [_, 1, 2, _, 3, _]
    assert supervised([5, 1, 5, 1], [[5], [1]]) == [5, 1, _, _]
    assert supervised([9, 9], []) == [_, _]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_demonstration_opens_with_the_prompt_of_rl(demo, tokenizer, profile):
    data = demo.compose(f"+data.longvt.profile={profile}").data
    processor = AutoProcessor.from_pretrained(demo.folder / "model")
    setting = Setting.of(demo.compose(f"+data.longvt.profile={profile}"))
    prompt = LongVTDataset(str(data.train_files), tokenizer, data, processor)[0]["raw_prompt"]
    shown = demonstrate(setting, setting.rows[0], random.Random(0))
    opening = shown.messages[: len(prompt)]
    assert media_of(opening) == media_of(prompt)
    assert processor.apply_chat_template(opening) == processor.apply_chat_template(prompt)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_sample_supervises_the_policys_turns_alone(demo, profile):
    processor = AutoProcessor.from_pretrained(demo.folder / "model")
    setting = Setting.of(demo.compose(f"+data.longvt.profile={profile}"))
    shown = demonstrate(setting, setting.rows[0], random.Random(0))
    spec = PositionSpec.of_config(AutoConfig.from_pretrained(demo.folder / "model"))
    sample = sample_of(shown, processor, setting.tool_schema, spec)
    taught = sample["labels"] != IGNORE
    assert torch.equal(sample["labels"][taught], sample["input_ids"][taught])
    turns = [message["content"] for message in shown.messages if message["role"] == "assistant"]
    assert processor.tokenizer.decode(sample["labels"][taught]) == "".join(f"{turn}<|im_end|>" for turn in turns)
    assert sample["position_ids"].shape == (3, len(taught))
    assert ("video_grid_thw" in sample) == PROFILES[profile].video_tokens
