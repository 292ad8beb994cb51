"""A Qwen2.5-VL checkpoint small enough for a CPU (under a million parameters), complete with tokenizer and processor.

Real architecture and real token layout, made without a network: the tokenizer is a byte-level BPE trained
on the texts it will meet, with Qwen2.5's special tokens and pre-tokenizer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

TEMPLATE = Path(__file__).parents[1] / "tokens" / "templates" / "qwen2_5_vl.jinja"
SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
# Qwen2.5 adds these as ordinary tokens: decoding with skip_special_tokens must keep them for the reward.
ORDINARY = ("<tool_call>", "</tool_call>")
# Qwen2.5's pre-tokenizer; digits stand alone.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of at most ``vocabulary`` entries on ``texts``, with Qwen2.5's special tokens."""
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    )
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    raw.add_tokens([AddedToken(token, special=False, normalized=False) for token in ORDINARY])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=32_768,
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE.read_text(),
    )


def make_tiny_qwen2_5_vl(
    folder: str | os.PathLike[str],
    texts: Sequence[str],
    hidden: int = 128,
    layers: int = 2,
    vocabulary: int = 1024,
    seed: int = 0,
    sharpness: float = 1.0,
    spread: float = 0.02,
) -> None:
    """Write a random checkpoint to ``folder``, loadable by transformers, vLLM and verl.

    Args:
        texts: what the tokenizer is trained on.
        hidden: a multiple of 64, so that heads of 32 suit vLLM's CPU attention.
        sharpness: factor on logits and attention scores. A random model finds all tokens about equally likely,
            wherever they stand; comparisons of its probabilities say something only once that changes.
        spread: standard deviation of the weights. The usual 0.02 suits widths above a thousand; at this one
            attention forms many times faster with 0.08.
    """
    torch.manual_seed(seed)
    folder = str(folder)
    make_tokenizer(texts, vocabulary).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = dict(
        patch_size=14, temporal_patch_size=2, merge_size=2, image_mean=MEAN, image_std=STD, min_pixels=28 * 28
    )
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(max_pixels=224 * 224, **pixels),
        video_processor=Qwen2VLVideoProcessor(max_pixels=224 * 224, **pixels),
        tokenizer=tokenizer,
        chat_template=TEMPLATE.read_text(),
    ).save_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration(_config(tokenizer, hidden, layers, spread))
    save(model, tokenizer, folder, sharpness)


def save(model: torch.nn.Module, tokenizer, folder: str, sharpness: float) -> None:
    """Write a random model that ends its turns as ``tokenizer`` does."""
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    sharpen(model, sharpness)
    model.save_pretrained(folder)


def sharpen(model: torch.nn.Module, sharpness: float) -> None:
    """Make a random model's opinions strong: logits by ``sharpness``, attention scores likewise."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "lm_head.weight":
                weight.mul_(sharpness)
            elif "language_model" in name and name.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(sharpness**0.5)


def ends(tokenizer) -> dict[str, int]:
    """Ids with which both families begin, end and pad."""
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    return dict(bos_token_id=pad, eos_token_id=end, pad_token_id=pad)


def text_sizes(tokenizer, hidden: int, layers: int) -> dict[str, int]:
    """Of a language model, for the ``text_config`` of both families."""
    return dict(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=32_768,
    )


def _config(tokenizer, hidden: int, layers: int, spread: float) -> Qwen2_5_VLConfig:
    token = tokenizer.convert_tokens_to_ids
    text = dict(
        rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
        tie_word_embeddings=False,
        use_sliding_window=False,
        initializer_range=spread,
        **text_sizes(tokenizer, hidden, layers),
        **ends(tokenizer),
    )
    vision = dict(
        depth=2,
        hidden_size=64,
        intermediate_size=128,
        num_heads=2,
        out_hidden_size=hidden,
        patch_size=14,
        spatial_merge_size=2,
        temporal_patch_size=2,
        window_size=112,
        fullatt_block_indexes=[1],
        in_channels=3,
        tokens_per_second=2,
        hidden_act="silu",
        initializer_range=spread,
    )
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        vision_token_id=token("<|vision_pad|>"),
        tie_word_embeddings=False,
        **ends(tokenizer),
    )
