"""Batches: a packed loss is the token-weighted mean of its samples; text alone still uses the vision tower."""

from __future__ import annotations

import pickle

import pytest
import torch


@pytest.fixture(scope="module")
def built(media, family):
    return media.build(family)


@pytest.fixture(scope="module")
def model(media, family):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(media.checkpoint(family), dtype=torch.float32).eval()


def test_the_loss_of_a_pack_is_the_token_weighted_mean_of_its_samples(built, model):
    """Without rmpad a pack is a padded batch; the padding and the neighbours must not show in the loss."""
    collate = built.get_collator()
    samples = [built.sample(row) for row in range(5)]
    with torch.no_grad():
        packed = model(**collate([samples[:2], samples[2:]])).loss.item()
        alone = [model(**collate([sample])).loss.item() for sample in samples]
    counts = [int((sample["labels"] != -100).sum()) for sample in samples]
    mean = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    assert packed == pytest.approx(mean, abs=1e-4)
    assert max(alone) - min(alone) > 1e-3, "samples that are all alike would prove nothing"


def test_a_batch_of_text_gives_the_vision_tower_gradients_and_keeps_its_loss(built, model):
    collate, sample = built.get_collator(), built.sample(4)
    assert "pixel_values" not in sample
    batch = collate([sample])
    plain = {key: sample[key][None] for key in ("input_ids", "labels")}
    with torch.no_grad():
        without = model(**plain, position_ids=sample["position_ids"][:, None]).loss
    model.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    torch.testing.assert_close(loss.detach(), without, rtol=0, atol=1e-5)
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []
    model.zero_grad(set_to_none=True)
    model(**plain, position_ids=sample["position_ids"][:, None]).loss.backward()
    assert any(p.grad is None for n, p in model.named_parameters() if "visual" in n), "then the anchor can go"


def test_the_anchor_follows_the_position_rule(built):
    from longvt_plugins.tokens.positions import position_ids

    batch = built.get_collator()([built.sample(4)])
    rule = position_ids(batch["input_ids"][0], batch["image_grid_thw"], None, [], built.processor.spec)
    assert batch["position_ids"][:, 0].tolist() == rule.tolist()


def test_padding_is_masked_and_unsupervised(built):
    batch = built.get_collator()([built.sample(0), built.sample(2)])
    length = len(built.sample(2)["input_ids"])
    assert batch["attention_mask"][1].tolist() == [1] * length + [0] * (batch["input_ids"].shape[1] - length)
    assert (batch["labels"][1, length:] == -100).all()
    assert batch["position_ids"].shape == (3, *batch["input_ids"].shape)


def test_it_travels_to_workers(built):
    collate = pickle.loads(pickle.dumps(built.get_collator()))
    assert torch.equal(collate([built.sample(2)])["input_ids"], built.get_collator()([built.sample(2)])["input_ids"])
