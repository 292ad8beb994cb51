"""Logits in float32 from a bfloat16 head: the policy's side, and the product. Reason and end: ``ledger.py``.

The method is MiniMax-M1's (arXiv:2506.13585), which found the head to be where probabilities of rollout and training
part. A tensor core adds up products of bfloat16 in float32 anyway; only the rounding of the sum is left out, so
there is no second copy of the weight and no slower product.
"""

from __future__ import annotations

import functools
import os
import types

import torch

VARIABLE = "LONGVT_FP32_HEAD"
"""``1`` turns it on; ``recipes/rl/hardware/cuda.yaml`` sets it for every process of a run."""


def chosen() -> bool:
    return os.environ.get(VARIABLE, "").strip() == "1"


def apply(transformer_impl) -> None:
    """Let ``verl.workers.engine.fsdp.transformer_impl.FSDPEngine`` build such policies, if chosen."""
    if not chosen():
        return
    engine = transformer_impl.FSDPEngine
    original = engine._build_module

    @functools.wraps(original)
    def _build_module(self):
        module = original(self)
        return use(module) if self.model_config.model_type == "language_model" else module

    engine._build_module = _build_module


def use(model):
    """``model`` (Hugging Face), whose output head gives float32 from now on."""

    def forward(self, hidden):
        return logits(hidden, self.weight, self.bias)

    head = model.get_output_embeddings()
    head.forward = types.MethodType(forward, head)
    return model


def logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """float32 ``[..., vocabulary]`` of ``hidden [..., width]`` and ``weight [vocabulary, width]``.

    Inside autocast both are taken in its dtype, as a stock head takes them.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    with torch.autocast(device, enabled=False):
        product = _Product.apply(hidden.reshape(-1, hidden.shape[-1]), weight)
        if bias is not None:
            product = product + bias
    return product.view(*hidden.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """``hidden [n, width] @ weight [vocabulary, width].T`` in float32; its gradients as a stock head's."""

    @staticmethod
    def forward(ctx, hidden, weight):
        ctx.save_for_backward(hidden, weight)
        if hidden.is_cuda and hidden.dtype != torch.float32:
            return torch.mm(hidden, weight.t(), out_dtype=torch.float32)
        return hidden.float() @ weight.float().t()

    @staticmethod
    def backward(ctx, gradient):
        hidden, weight = ctx.saved_tensors
        gradient = gradient.to(hidden.dtype)
        of_hidden, of_weight = ctx.needs_input_grad
        return gradient @ weight if of_hidden else None, gradient.t() @ hidden if of_weight else None
