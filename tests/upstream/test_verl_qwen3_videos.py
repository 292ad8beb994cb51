"""Prompts with videos of Qwen3-VL: what vLLM makes of what verl sends is the prompt that verl built."""

import numpy as np
import pytest
import torch
from transformers import AutoProcessor
from verl.workers.rollout.utils import qwen2_5_vl_dedup_image_tokens as shortened

from longvt_plugins.testing.tiny_qwen3_vl import make_tiny_qwen3_vl
from longvt_plugins.tokens.media import video_metadata

VIDEO = "<|vision_start|><|video_pad|><|vision_end|>"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
PROMPTS = {
    "one video": f"<|im_start|>user\n{VIDEO}\nWhat is it?",
    "two, one after the other": f"<|im_start|>user\n{VIDEO}{VIDEO}\nWhat is it?",
    "two, with words and a picture between": f"<|im_start|>user\n{VIDEO} and\n{IMAGE}\n{VIDEO}\nWhat is it?",
    "a time that the question names": f"<|im_start|>user\n{VIDEO}\nWhat is at <7.5 seconds>?",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen3")
    make_tiny_qwen3_vl(folder, [*PROMPTS.values(), "<0.5 seconds>"], hidden=64)
    return folder


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_vllm_expands_it_to_what_verl_built(model, prompt):
    from vllm.config import ModelConfig
    from vllm.multimodal import MULTIMODAL_REGISTRY

    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 255, (frames, 64, 96, 3), dtype=np.uint8) for frames in (6, 4)][: prompt.count(VIDEO)]
    metadata = [video_metadata([0.5 + 2 * n for n in range(len(clip))]) for clip in clips]
    image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    processor = AutoProcessor.from_pretrained(model)
    built = processor(
        text=[prompt],
        images=[image] if IMAGE in prompt else None,
        videos=[torch.from_numpy(clip).permute(0, 3, 1, 2) for clip in clips],
        video_metadata=metadata,
        do_sample_frames=False,
    )["input_ids"][0]
    config = ModelConfig(str(model), limit_mm_per_prompt={"video": 2, "image": 1}, dtype="float32")
    engine = MULTIMODAL_REGISTRY.create_processor(config)
    media = {"video": [(clip, {**m, "do_sample_frames": False}) for clip, m in zip(clips, metadata, strict=True)]}
    if IMAGE in prompt:
        media["image"] = [image]
    items = engine.info.parse_mm_data(media)

    def expanded(ids):
        return list(engine(ids, mm_items=items, hf_processor_mm_kwargs={})["prompt_token_ids"])

    assert expanded(shortened(list(built), processor)) == list(built)
    if prompt == PROMPTS["one video"]:
        stock = shortened.__wrapped__(list(built), processor)
        assert len(expanded(stock)) > len(built)
