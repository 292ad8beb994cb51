"""Every shipped recipe composes, and sets no key that upstream does not know."""

import functools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from longvt_plugins.datasets.rl_options import read_options as read_rl_options
from longvt_plugins.launch.keys import added_keys
from longvt_plugins.loops.options import LoopOptions
from longvt_plugins.reward import RewardConfig
from longvt_plugins.testing.recipe import compose_recipe
from longvt_plugins.tokens.budget import MARKS, check_suited, suited
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.tools.options import read_options
from longvt_plugins.video import SamplingPolicy

RECIPES = Path(__file__).parents[1] / "recipes"
RL = sorted(path.stem for path in (RECIPES / "rl").glob("*.yaml"))
PUBLISHED = [name for name in RL if "demo" not in name]
ABLATIONS = sorted(path.stem for path in (RECIPES / "rl" / "ablation").glob("*.yaml"))
WHOLE = sorted(path for stage in ("sft", "rl", "judge") for path in (RECIPES / stage).glob("*.yaml"))
GROUPS = sorted(path for group in ("ablation", "inference") for path in (RECIPES / "rl" / group).glob("*.yaml"))
HYDRA_OR_SERVER = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name != "launch")
HEADER = ("What", "Data", "Hardware", "Run", "Override", "Expect", "Healthy", "Limits")
GROUP_HEADER = ("What", "Base", "Run", "Override", "Expect", "Healthy")
OBJECTIVE = ("clip_ratio", "clip_ratio_low", "clip_ratio_high", "loss_agg_mode", "kl_loss_coef", "kl_loss_type")


@functools.cache
def composed(name: str, *overrides: str, platform: str = "") -> DictConfig:
    """Once for each platform: ``longvt.hardware`` is read while composing."""
    return compose_recipe(name, overrides)


def additions(recipe: DictConfig, base: DictConfig) -> set[str]:
    return set(added_keys(recipe, base))


@pytest.mark.parametrize("platform", ["cpu", "nvidia"])
@pytest.mark.parametrize("name", RL)
def test_it_composes_and_has_no_mistyped_key(name, platform, monkeypatch):
    monkeypatch.setenv("VERL_PLATFORM", platform)
    assert additions(composed(name, platform=platform), composed("ppo_trainer")) == set()


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_an_ablation_has_its_own_name_and_folder(name, ablation):
    base, variant = composed(name), composed(name, f"+ablation={ablation}")
    assert additions(variant, composed("ppo_trainer")) == set()
    assert variant.trainer.experiment_name == f"{base.trainer.experiment_name}_{ablation}"
    assert variant.trainer.default_local_dir == f"{base.trainer.default_local_dir}_{ablation}"


def test_ablations_change_what_they_name():
    def field(ablation: str, key: str):
        return OmegaConf.select(composed("longvt_7b_rl", f"+ablation={ablation}"), key)

    kwargs = "reward.custom_reward_function.reward_kwargs"
    assert RewardConfig(**field("parity", kwargs)).model_dump(exclude={"judge"}) == RewardConfig(
        profile="parity"
    ).model_dump(exclude={"judge"})
    assert field("parity", "actor_rollout_ref.actor.use_kl_loss") is True
    assert field("no_grounding", f"{kwargs}.grounding") == 0
    assert field("recall", f"{kwargs}.measure") == "recall"
    assert field("dr_grpo", "algorithm.norm_adv_by_std_in_grpo") is False
    assert (field("dapo", f"{kwargs}.grounding"), field("dapo", f"{kwargs}.format")) == (0, 0)
    assert field("rl_only", "actor_rollout_ref.model.path") == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert field("no_tool", "actor_rollout_ref.rollout.multi_turn.tool_config_path") is None


def test_the_default_is_grpo_with_clip_higher_and_groups_that_differ_in_the_answer():
    recipe = composed("longvt_7b_rl")
    actor, groups = recipe.actor_rollout_ref.actor, recipe.algorithm.filter_groups
    assert (recipe.algorithm.adv_estimator, actor.use_kl_loss, recipe.algorithm.use_kl_in_reward) == (
        "grpo",
        False,
        False,
    )
    assert (actor.clip_ratio_low, actor.clip_ratio_high, groups.enable, groups.metric) == (0.2, 0.28, True, "acc")


def test_parity_undoes_what_the_default_adds_to_verls_objective():
    stock, parity = composed("ppo_trainer"), composed("longvt_7b_rl", "+ablation=parity")
    for key in ("algorithm.filter_groups", *(f"actor_rollout_ref.actor.{name}" for name in OBJECTIVE)):
        assert OmegaConf.select(parity, key) == OmegaConf.select(stock, key), key


def test_7b_rl_has_the_published_settings():
    """LongVT's examples: 8 nodes of 8, n 16, batch 16 and 8, lr 1e-6, 36,000 + 16,384 tokens, ulysses 4, 5 epochs."""
    recipe = composed("longvt_7b_rl_multinode")
    actor, rollout = recipe.actor_rollout_ref.actor, recipe.actor_rollout_ref.rollout
    assert (recipe.trainer.nnodes, recipe.trainer.n_gpus_per_node, rollout.n) == (8, 8, 16)
    assert (recipe.data.train_batch_size, actor.ppo_mini_batch_size, actor.ppo_micro_batch_size_per_gpu) == (16, 8, 1)
    assert (recipe.data.max_prompt_length, recipe.data.max_response_length) == (36_000, 16_384)
    assert (actor.optim.lr, actor.ulysses_sequence_parallel_size, actor.entropy_coeff) == (1e-6, 4, 0)
    assert (rollout.tensor_model_parallel_size, rollout.gpu_memory_utilization) == (1, 0.4)
    assert (recipe.trainer.total_epochs, recipe.trainer.save_freq, recipe.trainer.test_freq) == (5, 10, 5)


def test_frames_of_the_qwen3_vl_recipes_are_what_their_processor_leaves_alone():
    """Its published bounds; SFT, overview and crops have the same."""
    processor = SimpleNamespace(patch_size=16, merge_size=2, size={"shortest_edge": 65_536, "longest_edge": 16_777_216})
    recipe = composed("longvt_qwen3vl_8b_rl")
    overview = replace(suited(profile_named(None).overview, processor), **read_rl_options(recipe.data)[1])
    (tool,) = yaml.safe_load((RECIPES / "rl" / "tools" / "crop_video_qwen3vl.yaml").read_text())["tools"]
    crop = read_options(tool["config"])
    for policy in (overview, crop.policy, crop.finer_than):
        check_suited(policy, processor, "frames")
        assert (policy.min_pixels, policy.max_pixels) == (65_536, 98_304)
    assert crop.finer_than == overview
    sft = yaml.safe_load((RECIPES / "sft" / "longvt_qwen3vl_8b_sft.yaml").read_text())["dataset_config"]
    assert (sft["video_min_pixels"], sft["video_max_pixels"]) == (overview.min_pixels, overview.max_pixels)
    assert sft["video_max_frames"] == overview.max_frames


@pytest.mark.parametrize("name", ["longvt_7b_rl", "longvt_qwen3vl_8b_rl"])
def test_the_largest_overview_and_all_crops_fit(name):
    recipe = composed(name)
    rollout = recipe.actor_rollout_ref.rollout
    (tool,) = yaml.safe_load(Path(rollout.multi_turn.tool_config_path).read_text())["tools"]
    crop = read_options(tool["config"])

    def tokens(policy: SamplingPolicy) -> int:
        # "[1234.5 s]" takes ten bytes.
        return policy.max_frames * (policy.most_patches + MARKS + 10)

    loop = LoopOptions.of(rollout, recipe.data.max_response_length)
    assert tokens(crop.finer_than) < recipe.data.max_prompt_length
    assert loop.limits.max_calls * tokens(crop.policy) < recipe.data.max_response_length - loop.answer_tokens


def header_of(path: Path) -> dict[str, str]:
    """Text of each label in the comment on top of a recipe."""
    found, label = {}, ""
    for line in path.read_text().splitlines():
        if not line.startswith("# ") or line.startswith("# @package"):
            if found:
                break
            continue
        if line[2].isupper() and line[2:11].strip().isalpha():
            label = line[2:11].strip()
        found[label] = f"{found.get(label, '')} {line[11:].strip()}".strip()
    return found


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_headers_have_one_shape(path):
    header = header_of(path)
    assert [label for label in header if label in HEADER] == list(HEADER)
    assert path.stem in header["Run"], "the exact command names the recipe"
    assert all(header[label] for label in HEADER)


@pytest.mark.parametrize("path", GROUPS, ids=lambda path: path.stem)
def test_headers_of_what_is_put_on_a_recipe_have_one_shape(path):
    header = header_of(path)
    assert [label for label in header if label in GROUP_HEADER] == list(GROUP_HEADER)
    assert header["Run"].endswith(f"+{path.parent.name}={path.stem}") and f"={path.stem} " in header["Override"]


def test_recipes_are_yaml_alone():
    folders = [RECIPES / stage for stage in ("sft", "rl", "judge")]
    assert not [p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix != ".yaml"]


def test_a_mistyped_key_would_be_found():
    recipe = compose_recipe("longvt_demo", ["+trainer.expermient_nmae=oops"])
    assert additions(recipe, composed("ppo_trainer")) == {"trainer.expermient_nmae"}


@pytest.mark.parametrize("path", HYDRA_OR_SERVER, ids=lambda p: p.name)
def test_no_absolute_paths(path):
    for line in path.read_text().splitlines():
        value = line.partition("#")[0].partition(":")[2].strip()
        assert not value.startswith(("/", "~")), line
