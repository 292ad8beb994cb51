"""Logits in float32 from a bfloat16 head: the rollout engine's side. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools

import torch

from .verl_fp32_head import chosen, logits


def apply(vocab_parallel_embedding) -> None:
    """Wrap ``UnquantizedEmbeddingMethod.apply``, through which logits go with LoRA and tied weights too, if chosen."""
    if not chosen():
        return
    method = vocab_parallel_embedding.UnquantizedEmbeddingMethod
    original = method.apply

    @functools.wraps(original)
    def project(self, layer, x, bias=None):
        return original(self, layer, x, bias) if x.dtype == torch.float32 else logits(x, layer.weight, bias)

    method.apply = project
