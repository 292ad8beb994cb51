"""Positions of Qwen2.5-VL videos by the one rule, on the trainer's side. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any


def apply(tokenizer) -> None:
    """Wrap ``hf_processor`` of ``verl.utils.tokenizer.tokenizer``, which gives a processor its ``get_rope_index``."""
    original = tokenizer.hf_processor

    @functools.wraps(original)
    def hf_processor(*args: Any, **kwargs: Any):
        processor = original(*args, **kwargs)
        if type(processor).__name__ == "Qwen2_5_VLProcessor":
            processor.get_rope_index = types.MethodType(get_rope_index, processor)
            processor.get_rope_index_kwargs = lambda inputs: {"second_per_grid_ts": inputs.get("second_per_grid_ts")}
        return processor

    # ``import verl`` loads these before any entry point, so their copies of the name are there already.
    for name in ("verl.utils.tokenizer.tokenizer", "verl.utils.tokenizer", "verl.utils"):
        module = sys.modules.get(name)
        if getattr(module, "hf_processor", None) is original:
            module.hf_processor = hf_processor


def get_rope_index(
    processor: Any,
    input_ids,
    image_grid_thw=None,
    video_grid_thw=None,
    second_per_grid_ts=None,
    attention_mask=None,
    **unused: Any,
):
    """``tokens.positions`` behind the signature of ``Qwen2_5_VLModel.get_rope_index``, for one sequence.

    Returns:
        position_ids: int64 ``[3, 1, length]``, 1 where masked out.
        deltas: int64 ``[1, 1]``.
    """
    import torch

    from longvt_plugins.tokens.positions import PositionSpec, position_ids

    ids = input_ids[0]
    kept = torch.ones_like(ids, dtype=torch.bool) if attention_mask is None else attention_mask[0].bool()
    seconds = None if second_per_grid_ts is None else [float(value) for value in second_per_grid_ts]
    found = position_ids(
        ids[kept].numpy(), image_grid_thw, video_grid_thw, seconds, PositionSpec.of_config(processor.config)
    )
    out = torch.ones((3, 1, len(ids)), dtype=torch.long)
    out[:, 0, kept] = torch.from_numpy(found)
    return out, torch.tensor([[int(found.max()) + 1 - len(ids)]])
