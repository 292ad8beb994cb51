"""Sequences without a picture: stock verl fails on them, the work-around embeds them as verl means to."""

import pytest
import torch
from transformers import AutoModelForImageTextToText
from verl.models.transformers import qwen2_vl

from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl

MENDED = qwen2_vl._get_input_embeds
STOCK = MENDED.__wrapped__


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    make_tiny_qwen2_5_vl(folder, ["Which number is shown?"], hidden=64, layers=1)
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).model


def test_stock_fails_and_the_work_around_embeds_the_text(model):
    ids = torch.tensor([[5, 6, 7]])
    with pytest.raises(AttributeError):
        STOCK(model, ids, torch.ones_like(ids))
    embeds, mask = MENDED(model, ids, torch.ones_like(ids))
    assert torch.equal(embeds, model.get_input_embeddings()(ids)) and torch.equal(mask, torch.ones_like(ids))
    embeds.sum().backward()
    # Every rank has gradients for the vision tower, or sharded training waits for ever.
    assert all(parameter.grad is not None for parameter in model.visual.parameters())


def test_pictures_go_the_stock_way(model):
    grid = torch.tensor([[1, 4, 4]])
    pixels = torch.randn(16, 1176)
    ids = torch.tensor([[5, *[model.config.image_token_id] * 4, 6]])
    given = (model, ids, torch.ones_like(ids), pixels, None, grid, None)
    assert torch.equal(MENDED(*given)[0], STOCK(*given)[0])
