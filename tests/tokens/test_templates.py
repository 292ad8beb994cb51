"""The chat template: turn by turn gives the same tokens as at once, through verl's own builder."""

import numpy as np
import pytest
from PIL import Image
from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

TOOL = {"type": "function", "function": {"name": "crop_video", "description": "d", "parameters": {"type": "object"}}}
IMAGE = Image.fromarray(np.zeros((56, 56, 3), np.uint8))
CALL = '<think>x</think>\n<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 1}}\n</tool_call>'


def conversation(replies):
    tool = [{"role": "tool", "content": [{"type": "image", "image": IMAGE}, {"type": "text", "text": "1 frame"}]}]
    return [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": [{"type": "image", "image": IMAGE}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": CALL},
        *tool * replies,
    ]


@pytest.fixture(scope="module")
def processor(demo):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(demo.folder / "model")


@pytest.mark.parametrize("replies", [1, 3])
def test_turn_by_turn_equals_at_once(processor, replies):
    builder = create_continuous_token_builder(processor.tokenizer, hf_model_type="qwen2_5_vl", processor=processor)
    messages = conversation(replies)
    ids = builder.build_initial_tokens(messages[:2], tools=[TOOL], images=[IMAGE])
    said = processor.tokenizer.encode(CALL + "<|im_end|>", add_special_tokens=False)
    ids = builder.merge_assistant_tokens(ids, said).token_ids
    ids = builder.merge_context_tokens(messages[:3], messages, ids, tools=[TOOL]).token_ids
    text = processor.apply_chat_template(messages, tools=[TOOL], tokenize=False, add_generation_prompt=True)
    at_once = processor(text=[text], images=[IMAGE] * (1 + replies))["input_ids"][0]
    assert list(ids) == list(at_once)


def test_structured_and_written_calls_render_alike(processor):
    written = conversation(1)
    structured = [
        *written[:2],
        {
            "role": "assistant",
            "content": "<think>x</think>",
            "tool_calls": [{"type": "function", "function": {"name": "crop_video", "arguments": {"start_time": 1}}}],
        },
        *written[3:],
    ]
    render = lambda messages: processor.apply_chat_template(messages, tools=[TOOL], tokenize=False)  # noqa: E731
    assert render(written) == render(structured)


def test_without_tools_there_is_no_tool_block(processor):
    text = processor.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text == "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
