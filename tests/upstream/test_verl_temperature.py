"""A temperature other than 1 in bfloat16: stock verl rounds it and the scaled logits, the work-around does not."""

import pytest
import torch
from verl.utils.torch_functional import logprobs_from_logits
from verl.workers.engine.fsdp import transformer_impl

MENDED = transformer_impl._scale_logits_by_temperature
STOCK = MENDED.__wrapped__


def probabilities(scale, logits, labels, temperature):
    """As ``FSDPEngineWithLMHead.forward_step`` gets them, on the side of autocast that a GPU would be on."""
    with torch.autocast("cpu", torch.bfloat16):
        scaled = scale(logits, torch.full((len(logits), 1, 1), temperature), is_unit_temperature=temperature == 1)
        return logprobs_from_logits(scaled, labels).float().exp()


def differences(scale, temperature):
    """From the probabilities that vLLM gives the same bfloat16 logits: divided and normalised in float32."""
    generator = torch.Generator().manual_seed(0)
    logits = (6 * torch.randn(4, 256, 1024, generator=generator)).bfloat16()
    true = torch.softmax(logits.float() / temperature, -1)
    labels = torch.multinomial(true.view(-1, 1024), 1, generator=generator).view(4, 256)
    wanted = true.gather(-1, labels[..., None])[..., 0]
    return (probabilities(scale, logits, labels, temperature) - wanted).abs()


@pytest.mark.parametrize("temperature", [0.7, 1.3])
def test_stock_differs_by_percents_and_the_work_around_does_not(temperature):
    assert differences(STOCK, temperature).max() > 1e-2
    assert differences(MENDED, temperature).max() < 1e-5


def test_at_temperature_one_nothing_is_copied():
    logits = torch.randn(2, 3, 8).bfloat16()
    assert MENDED(logits, torch.ones(2, 1, 1), is_unit_temperature=True) is logits


def test_gradients_reach_bfloat16_logits():
    logits = torch.randn(2, 3, 8).bfloat16().requires_grad_()
    MENDED(logits, torch.full((2, 1, 1), 0.7), is_unit_temperature=False).sum().backward()
    torch.testing.assert_close(logits.grad, torch.full_like(logits, 1 / 0.7))
