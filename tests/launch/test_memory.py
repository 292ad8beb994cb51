"""The estimate: sizes against real models, and one recipe worked out by hand."""

from __future__ import annotations

import json

import pytest

from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.launch.memory import GIB, OVERHEAD_GIB, RELEASED, Model, estimate, model_of


@pytest.mark.parametrize(
    "name, billions",
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3.75),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29),
        ("Qwen/Qwen3-VL-4B-Instruct", 4.44),
        ("Qwen/Qwen3-VL-8B-Instruct", 8.77),
    ],
)
def test_released_models_have_their_published_parameters(name, billions):
    assert RELEASED[name].parameters / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_sizes_of_a_folder_are_those_of_its_weights(tmp_path, family):
    from transformers import AutoModelForImageTextToText

    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
    from longvt_plugins.testing.tiny_qwen3_vl import make_tiny_qwen3_vl

    make = make_tiny_qwen2_5_vl if family == "qwen2_5_vl" else make_tiny_qwen3_vl
    make(tmp_path, ["a b c"], hidden=256, layers=4)
    counted = sum(p.numel() for p in AutoModelForImageTextToText.from_pretrained(tmp_path).parameters())
    recipe = compose_recipe("longvt_7b_rl", [f"longvt.model={tmp_path}"])
    # Norms, biases and embeddings of patches are not counted, which is much of a tiny model.
    assert model_of(recipe).parameters == pytest.approx(counted, rel=0.1)


def test_experts_are_all_held_and_few_are_met():
    text = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
    text |= {"intermediate_size": 99, "vocab_size": 10, "num_experts": 16, "moe_intermediate_size": 6}
    vision = {"hidden_size": 1, "intermediate_size": 1, "depth": 0}
    model = Model.of({"text_config": text | {"num_experts_per_tok": 2}, "vision_config": vision})
    assert model.layer == 2 * 64 + 2 * 8 * 4 + 3 * 8 * 6 * 16
    assert model.intermediate == 12


def test_the_default_recipe_by_hand():
    recipe = compose_recipe("longvt_7b_rl", ["longvt.model=Qwen/Qwen2.5-VL-7B-Instruct"])
    model = model_of(recipe)
    assert (model.layers, model.hidden, model.kv_numbers) == (28, 3584, 2 * 4 * 128)
    found = estimate(recipe, model, 80)
    tokens = (36_000 + 16_384) / 4
    assert found.state == pytest.approx(4 * 4 * model.parameters / 8 / GIB)
    assert found.logits == pytest.approx(tokens * 152_064 * 4 / GIB)
    recomputed = 2 * (8 * 3584 + 6 * 18_944)
    assert found.activations == pytest.approx(tokens * (28 * 2 * 3584 + recomputed) / GIB)
    assert found.engine_least == pytest.approx((2 * model.parameters + 2 * 28 * 1024 * 52_384) / GIB)
    assert (found.engine, found.resident, found.engine_kept) == (32, 0, 0)
    assert found.rollout == 32 + OVERHEAD_GIB


@pytest.mark.parametrize(
    "override, field, factor",
    [
        ("trainer.nnodes=2", "state", 1 / 2),
        ("actor_rollout_ref.actor.fsdp_config.fsdp_size=4", "state", 2),
        ("actor_rollout_ref.actor.fsdp_config.model_dtype=bf16", "state", 1 / 2),
        ("actor_rollout_ref.model.lora_rank=32", "state", 1 / 4),
        ("actor_rollout_ref.actor.ulysses_sequence_parallel_size=2", "logits", 2),
        ("actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=3", "activations", 3),
        ("actor_rollout_ref.model.use_fused_kernels=true", "logits", 0),
        ("actor_rollout_ref.rollout.tensor_model_parallel_size=2", "engine_least", 1 / 2),
    ],
)
def test_each_setting_counts(override, field, factor):
    base = compose_recipe("longvt_7b_rl")
    changed, model = compose_recipe("longvt_7b_rl", [override]), model_of(base)
    assert getattr(estimate(changed, model, 80), field) == pytest.approx(
        factor * getattr(estimate(base, model, 80), field)
    )


def test_what_is_not_offloaded_stays_beside_the_engine():
    kept = compose_recipe("longvt_7b_rl_multinode")
    model = model_of(kept)
    found = estimate(kept, model, 80)
    assert found.resident == pytest.approx(12 * model.parameters / 64 / GIB)


def test_an_unknown_model_is_not_estimated(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    assert model_of(compose_recipe("longvt_7b_rl", [f"longvt.model={tmp_path}"])) is None
    assert model_of(compose_recipe("longvt_7b_rl", ["longvt.model=a/b", "longvt.base=c/d"])) is None
