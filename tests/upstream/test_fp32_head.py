"""A bfloat16 head that gives float32 logits, in verl's policy and in vLLM: against stock, and with its gradients."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from verl.workers.engine.fsdp import transformer_impl
from vllm.model_executor.layers import vocab_parallel_embedding

from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
from longvt_plugins.upstream import verl_fp32_head, vllm_fp32_head

WIDTH, VOCABULARY = 256, 512


@pytest.fixture
def operands():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 16, WIDTH, generator=generator).bfloat16()
    weight = (0.5 * torch.randn(VOCABULARY, WIDTH, generator=generator)).bfloat16()
    return hidden, weight


def largest_difference(logits, hidden, weight):
    """From the probabilities of exact products."""
    true = torch.softmax(hidden.double() @ weight.double().t(), -1)
    return (torch.softmax(logits.double(), -1) - true).abs().max().item()


def test_stock_differs_by_percents_and_float32_does_not(operands):
    hidden, weight = operands
    stock = torch.nn.functional.linear(hidden, weight)
    mended = verl_fp32_head.logits(hidden, weight)
    assert mended.dtype == torch.float32 and mended.shape == stock.shape
    assert largest_difference(stock, *operands) > 5e-3
    assert largest_difference(mended, *operands) < 1e-5


def test_autocast_does_not_round_the_sums_again(operands):
    hidden, weight = operands
    with torch.autocast("cpu", torch.bfloat16):
        of_float32 = verl_fp32_head.logits(hidden.float(), weight.float())
    torch.testing.assert_close(of_float32, verl_fp32_head.logits(hidden, weight), rtol=0, atol=0)


def test_gradients_are_those_of_a_stock_head(operands):
    gradients = []
    for head in (torch.nn.functional.linear, verl_fp32_head.logits):
        hidden, weight = (x.clone().requires_grad_() for x in operands)
        torch.log_softmax(head(hidden, weight).float(), -1)[..., 7].sum().backward()
        gradients.append((hidden.grad, weight.grad))
    for stock, mended in zip(*gradients, strict=True):
        assert mended.dtype == torch.bfloat16
        torch.testing.assert_close(mended, stock, rtol=0.05, atol=0.05 * stock.abs().max().item())


def test_a_frozen_head_costs_no_gradient(operands):
    flops = []
    for trained in (True, False):
        hidden, weight = operands[0].clone().requires_grad_(), operands[1].clone().requires_grad_(trained)
        total = verl_fp32_head.logits(hidden, weight).sum()
        with FlopCounterMode(display=False) as counter:
            total.backward()
        flops.append(counter.get_total_flops())
    assert flops[0] == 2 * flops[1] > 0


class _Engine:
    """The part of verl's engine that is wrapped."""

    def __init__(self, model_type, module):
        self.model_config = type("ModelConfig", (), {"model_type": model_type})
        self.module = module

    def _build_module(self):
        return self.module


@pytest.mark.parametrize("chosen", ["1", "0", None])
def test_verl_builds_policies_with_it_where_it_is_chosen(chosen, tmp_path, monkeypatch):
    from transformers import AutoModelForImageTextToText

    make_tiny_qwen2_5_vl(tmp_path, ["a few words"])
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.bfloat16)
    if chosen is None:
        monkeypatch.delenv(verl_fp32_head.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(verl_fp32_head.VARIABLE, chosen)
    engine = type("FSDPEngine", (_Engine,), {"_build_module": _Engine._build_module})
    verl_fp32_head.apply(type("transformer_impl", (), {"FSDPEngine": engine}))
    built = engine("language_model", model)._build_module()
    logits = built(input_ids=torch.arange(4)[None], use_cache=False).logits
    assert logits.dtype == (torch.float32 if chosen == "1" else torch.bfloat16)


def test_a_value_model_keeps_its_head(monkeypatch):
    monkeypatch.setenv(verl_fp32_head.VARIABLE, "1")
    engine = type("FSDPEngine", (_Engine,), {"_build_module": _Engine._build_module})
    verl_fp32_head.apply(type("transformer_impl", (), {"FSDPEngine": engine}))
    module = object()
    assert engine("value_model", module)._build_module() is module


def test_what_is_wrapped_is_there():
    assert callable(transformer_impl.FSDPEngine._build_module)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_vllm_gives_float32_where_it_is_chosen(dtype, operands, monkeypatch):
    hidden, weight = (x.to(dtype) for x in operands)
    monkeypatch.setattr(vocab_parallel_embedding.UnquantizedEmbeddingMethod, "apply", _rounded)
    monkeypatch.setenv(verl_fp32_head.VARIABLE, "0")
    vllm_fp32_head.apply(vocab_parallel_embedding)
    assert vocab_parallel_embedding.UnquantizedEmbeddingMethod.apply is _rounded
    monkeypatch.setenv(verl_fp32_head.VARIABLE, "1")
    vllm_fp32_head.apply(vocab_parallel_embedding)
    layer = torch.nn.Module()
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    logits = vocab_parallel_embedding.UnquantizedEmbeddingMethod().apply(layer, hidden)
    assert logits.dtype == torch.float32
    assert largest_difference(logits, hidden, weight) < 1e-5


def _rounded(self, layer, x, bias=None):
    """What vLLM's product gives on a GPU."""
    return torch.nn.functional.linear(x, layer.weight, bias)
