"""A Qwen3-VL checkpoint small enough for a CPU: real architecture, tokenizer and processor, random weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from longvt_plugins import tokens

from .tiny_model import ends, make_tokenizer, save, text_sizes

TEMPLATE = Path(tokens.__path__[0], "templates", "qwen3_vl.jinja")


def make_tiny_qwen3_vl(
    folder: str | os.PathLike[str],
    texts: Sequence[str],
    hidden: int = 128,
    layers: int = 2,
    vocabulary: int = 1024,
    seed: int = 0,
    sharpness: float = 1.0,
) -> None:
    """Write a random checkpoint to ``folder``; arguments as ``make_tiny_qwen2_5_vl``."""
    torch.manual_seed(seed)
    folder = str(folder)
    make_tokenizer(texts, vocabulary).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    template = TEMPLATE.read_text()
    tokenizer.chat_template = template
    half = [0.5, 0.5, 0.5]
    pixels = dict(patch_size=16, temporal_patch_size=2, merge_size=2, image_mean=half, image_std=half)
    bounds = {"shortest_edge": 32 * 32, "longest_edge": 256 * 256}
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=bounds, **pixels),
        video_processor=Qwen3VLVideoProcessor(
            size={"shortest_edge": 32 * 32, "longest_edge": 64 * 256 * 256}, **pixels
        ),
        tokenizer=tokenizer,
        chat_template=template,
    ).save_pretrained(folder)
    model = Qwen3VLForConditionalGeneration(_config(tokenizer, hidden, layers))
    save(model, tokenizer, folder, sharpness)


def _config(tokenizer, hidden: int, layers: int) -> Qwen3VLConfig:
    token = tokenizer.convert_tokens_to_ids
    return Qwen3VLConfig(
        text_config=dict(
            head_dim=32,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            **text_sizes(tokenizer, hidden, layers),
            **ends(tokenizer),
        ),
        vision_config=dict(
            depth=2,
            hidden_size=64,
            intermediate_size=128,
            num_heads=2,
            out_hidden_size=hidden,
            patch_size=16,
            spatial_merge_size=2,
            temporal_patch_size=2,
            deepstack_visual_indexes=[0],
            num_position_embeddings=256,
            in_channels=3,
        ),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=False,
    )
