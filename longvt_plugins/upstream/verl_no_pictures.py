"""A micro-batch of Qwen2.5-VL in which no sequence has a picture. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools


def apply(qwen2_vl) -> None:
    """Wrap ``verl.models.transformers.qwen2_vl._get_input_embeds``: hand it the dummy picture's features as it expects
    them."""
    original = qwen2_vl._get_input_embeds

    @functools.wraps(original)
    def embed(model, input_ids, attention_mask=None, pixel_values=None, pixel_values_videos=None, *grids, **named):
        if pixel_values is not None or pixel_values_videos is not None:
            return original(model, input_ids, attention_mask, pixel_values, pixel_values_videos, *grids, **named)
        return original(_Unpacked(model, qwen2_vl.unpack_visual_output), input_ids, attention_mask)

    qwen2_vl._get_input_embeds = embed


class _Unpacked:
    """``model``, except that ``visual`` returns a tensor."""

    def __init__(self, model, unpack):
        self._model, self._unpack = model, unpack

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def visual(self, *args, **kwargs):
        return self._unpack(self._model.visual(*args, **kwargs))[0]
