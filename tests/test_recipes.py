"""Every shipped recipe composes, and sets no key that upstream does not know."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from longvt_plugins.testing.recipe import compose_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
RL = sorted(path.stem for path in (RECIPES / "rl").glob("*.yaml"))
# Keys that verl reads although its default config does not list them, and our own.
KNOWN_ADDITIONS = {
    "longvt",
    "data.longvt",
    "trainer.longvt",
    "actor_rollout_ref.rollout.limit_images",
    "actor_rollout_ref.rollout.enable_sleep_mode",
    "actor_rollout_ref.rollout.custom",
    "actor_rollout_ref.rollout.engine_kwargs.vllm",
    "actor_rollout_ref.model.override_config",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision",
    "reward.custom_reward_function.reward_kwargs",
    "ray_kwargs.ray_init",
}


def additions(recipe: DictConfig, base: DictConfig, prefix: str = "") -> set[str]:
    found = set()
    for key in recipe:
        name = f"{prefix}{key}"
        if name in KNOWN_ADDITIONS:
            continue
        known = set(base.keys())  # "key in base" is False where the value is "???"
        no_value = OmegaConf.is_missing(recipe, key) or OmegaConf.is_interpolation(recipe, key)
        if key not in known:
            found.add(name)
        elif not no_value and isinstance(recipe[key], DictConfig):
            found |= additions(recipe[key], base[key], f"{name}.")
    return found


@pytest.mark.parametrize("platform", ["cpu", "nvidia"])
@pytest.mark.parametrize("name", RL)
def test_it_composes_and_has_no_mistyped_key(name, platform, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", platform)
    assert additions(compose_recipe(name), compose_recipe("ppo_trainer")) == set()


def test_a_mistyped_key_would_be_found():
    recipe = compose_recipe("longvt_demo", ["+trainer.expermient_nmae=oops"])
    assert additions(recipe, compose_recipe("ppo_trainer")) == {"trainer.expermient_nmae"}


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda p: p.name)
def test_no_absolute_paths(path):
    for line in path.read_text().splitlines():
        value = line.partition("#")[0].partition(":")[2].strip()
        assert not value.startswith(("/", "~")), line
