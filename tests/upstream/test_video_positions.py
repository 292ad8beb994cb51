"""Videos of Qwen2.5-VL: one rule for the trainer, true times for the engine. Without the work-arounds neither."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from verl.utils.tokenizer import hf_processor

from longvt_plugins.tokens.media import video_metadata
from longvt_plugins.tokens.positions import PositionSpec, position_ids

TIMES_S = [0.5 + 2.0 * n for n in range(8)]


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 255, (len(TIMES_S), 3, 56, 84), dtype=np.uint8)


def processed(processor, frames):
    text = "Look: <|vision_start|><|video_pad|><|vision_end|> What is it?"
    return processor(
        text=[text],
        videos=[torch.from_numpy(frames)],
        video_metadata=[video_metadata(TIMES_S)],
        do_sample_frames=False,
        return_tensors="pt",
    )


def positions(processor, inputs):
    kinds = (inputs["input_ids"] == processor.video_token_id).long() * 2
    kwargs = getattr(processor, "get_rope_index_kwargs", lambda _: {})(inputs)
    return processor.get_rope_index(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        video_grid_thw=inputs["video_grid_thw"],
        mm_token_type_ids=kinds,
        **kwargs,
    )[0][:, 0].numpy()


def test_the_trainer_follows_the_rule(demo, frames):
    processor = hf_processor(str(demo.folder / "model"))
    inputs = processed(processor, frames)
    spec = PositionSpec.of_config(processor.config)
    seconds = [float(value) for value in inputs["second_per_grid_ts"]]
    assert seconds == pytest.approx([4.0])
    rule = position_ids(inputs["input_ids"][0].numpy(), None, inputs["video_grid_thw"], seconds, spec)
    np.testing.assert_array_equal(positions(processor, inputs), rule)
    stock = hf_processor.__wrapped__(str(demo.folder / "model"))
    assert not np.array_equal(positions(stock, processed(stock, frames)), rule)


def test_it_holds_wherever_verl_is_imported_first():
    code = "import verl; from verl.utils import hf_processor; from verl.utils.tokenizer import hf_processor as other; "
    code += "assert hf_processor is other and hf_processor.__wrapped__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_padding_does_not_move_positions(demo, frames):
    processor = hf_processor(str(demo.folder / "model"))
    inputs = processed(processor, frames)
    plain = positions(processor, inputs)
    padded = dict(inputs)
    pad = torch.zeros((1, 3), dtype=torch.long)
    padded["input_ids"] = torch.cat([pad, inputs["input_ids"]], 1)
    padded["attention_mask"] = torch.cat([pad, inputs["attention_mask"]], 1)
    np.testing.assert_array_equal(positions(processor, padded)[:, 3:], plain)


@pytest.mark.parametrize("work_around", [True, False])
def test_vllm_knows_the_frames_times(demo, frames, work_around, monkeypatch):
    from vllm.config import ModelConfig
    from vllm.model_executor.models import qwen2_5_vl, qwen2_vl
    from vllm.multimodal import MULTIMODAL_REGISTRY

    if not work_around:
        stock = qwen2_vl.Qwen2VLProcessingInfo.get_data_parser
        monkeypatch.setattr(qwen2_5_vl.Qwen2_5_VLProcessingInfo, "get_data_parser", stock)
        stock = qwen2_vl.Qwen2VLMultiModalProcessor._call_hf_processor
        monkeypatch.setattr(qwen2_5_vl.Qwen2_5_VLMultiModalProcessor, "_call_hf_processor", stock)
    config = ModelConfig(str(demo.folder / "model"), limit_mm_per_prompt={"video": 1}, dtype="float32")
    processor = MULTIMODAL_REGISTRY.create_processor(config)
    metadata = {**video_metadata(TIMES_S), "do_sample_frames": False}
    items = processor.info.parse_mm_data({"video": [(frames.transpose(0, 2, 3, 1), metadata)]})
    out = processor("Look: <|vision_start|><|video_pad|><|vision_end|>", mm_items=items, hf_processor_mm_kwargs={})
    (item,) = out["mm_kwargs"]["video"]
    seconds = float(item["second_per_grid_ts"].data)
    assert seconds == pytest.approx(4.0 if work_around else 2 / 24)
