"""float32 logits of a bfloat16 head by torch.mm with out_dtype, which CUDA alone has (make test-gpu)."""

import pytest
import torch

from longvt_plugins.upstream import verl_fp32_head

pytestmark = pytest.mark.gpu
TOKENS, WIDTH, VOCABULARY = 64, 1024, 32_768
STEP = 2.0**-7
"""Distance of neighbours in bfloat16, from 1 to 2."""


@pytest.fixture
def operands(gpu_here):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(TOKENS, WIDTH, generator=generator).bfloat16().cuda()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).div_(WIDTH**0.5).bfloat16().cuda()
    return hidden.requires_grad_(), weight.requires_grad_()


def test_the_sum_is_not_rounded(operands):
    hidden, weight = operands
    true = hidden.double() @ weight.double().t()
    stock = torch.nn.functional.linear(hidden, weight)
    mended = verl_fp32_head.logits(hidden, weight)
    assert mended.dtype == torch.float32
    assert (stock - true).abs().max() > STEP / 4
    assert (mended - true).abs().max() < STEP / 100


def test_under_autocast_as_well(operands):
    with torch.autocast("cuda", torch.bfloat16):
        under = verl_fp32_head.logits(*(x.float() for x in operands))
    torch.testing.assert_close(under, verl_fp32_head.logits(*operands), rtol=0, atol=0)


def test_gradients_are_those_of_a_stock_head(operands):
    gradients = []
    for head in (torch.nn.functional.linear, verl_fp32_head.logits):
        torch.log_softmax(head(*operands).float(), -1)[..., 7].sum().backward()
        gradients.append([x.grad.clone() for x in operands])
        for x in operands:
            x.grad = None
    for stock, mended in zip(*gradients, strict=True):
        assert mended.dtype == torch.bfloat16
        torch.testing.assert_close(mended, stock, rtol=0.05, atol=0.05 * stock.abs().max().item())


def test_there_is_no_second_copy_of_the_weight(operands):
    hidden, weight = (x.detach() for x in operands)
    verl_fp32_head.logits(hidden, weight)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    logits = verl_fp32_head.logits(hidden, weight)
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < 1.5 * logits.nbytes < weight.nbytes
