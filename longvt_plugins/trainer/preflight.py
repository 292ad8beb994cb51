"""What is checked before a run costs anything: options of loop and reward, media profile, stamps of checkpoints."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig

from longvt_plugins import cpu
from longvt_plugins.errors import ConfigError
from longvt_plugins.loops.options import LoopOptions
from longvt_plugins.reward import RewardConfig
from longvt_plugins.tokens.budget import check_suited
from longvt_plugins.tokens.profiles import MediaProfile, check_stamp, profile_named
from longvt_plugins.tools.tool_file import read_tools

WITHOUT_TRANSCRIPT = ("dapo", "gdpo")


def preflight(config: DictConfig, folder: str | os.PathLike[str]) -> MediaProfile:
    """The run's media profile, once everything that names it agrees.

    Args:
        folder: of the run; it may hold checkpoints of an earlier part of it.

    Raises:
        ConfigError: options that the loop or the reward would refuse, trajectory by trajectory; frames that the model
            would resize.
        ProfileError: an unknown profile, one not offered for this model, or one that a checkpoint was not made with.
    """
    LoopOptions.of(config.actor_rollout_ref.rollout, config.data.max_response_length)
    check_hardware(config)
    check_attention(config.actor_rollout_ref.model)
    check_reward(config.reward)
    check_algorithm(config)
    profile = profile_named((config.data.get("longvt") or {}).get("profile"))
    model = os.path.expanduser(config.actor_rollout_ref.model.path)
    profile.check_model(_model_type(model))
    _check_tools(config, model)
    for checkpoint in (model, folder):
        if Path(checkpoint).is_dir():
            check_stamp(checkpoint, profile.name)
    return profile


def check_hardware(config: DictConfig) -> None:
    if cpu.chosen() and (config.actor_rollout_ref.actor.use_kl_loss or config.algorithm.use_kl_in_reward):
        raise ConfigError(
            "a KL term without a GPU",
            "needs verl's reference policy, whose offloading pins memory through the NVIDIA driver "
            "(verl 0.9.1, CPUOffloadPolicy in workers/engine/fsdp)",
            "Set actor_rollout_ref.actor.use_kl_loss=false and algorithm.use_kl_in_reward=false.",
        )


def check_attention(model: DictConfig) -> None:
    """FlashAttention is no dependency of verl; without it workers end after minutes of start-up."""
    kind = (model.get("override_config") or {}).get("attn_implementation", "flash_attention_2")
    # transformers takes it from the hub where `kernels` is installed.
    there = any(importlib.util.find_spec(package) for package in ("flash_attn", "kernels"))
    if kind == "flash_attention_2" and not there and not cpu.chosen():
        raise ConfigError(
            "actor_rollout_ref.model: attn_implementation flash_attention_2 (verl's default)",
            "needs flash-attn, which is not installed here",
            "pip install flash-attn==2.8.3 --no-build-isolation (verl 0.9.1 pins it), or set "
            "+actor_rollout_ref.model.override_config.attn_implementation=sdpa.",
        )


def check_reward(reward: DictConfig) -> None:
    """verl hides what a reward raises, and goes on with the trajectories that are left."""
    function, manager = reward.custom_reward_function, reward.reward_manager.name
    if function.get("path") != "pkg://longvt_plugins.reward":
        return
    try:
        RewardConfig(**(function.get("reward_kwargs") or {}))
    except ValueError as error:
        raise ConfigError("reward_kwargs", str(error), "Correct reward.custom_reward_function.") from error
    if manager in WITHOUT_TRANSCRIPT:
        raise ConfigError(
            f"reward.reward_manager.name={manager}",
            "does not hand the transcript to the reward (verl 0.9.1, experimental/reward_loop/reward_manager)",
            "Leave it at naive; DAPO's group filter is algorithm.filter_groups.",
        )


def check_algorithm(config: DictConfig) -> None:
    """What would train on the 0 that stands for no score, or on less than the recipe says."""
    algorithm, critic = config.algorithm, config.critic.enable
    components = (config.trainer.get("longvt") or {}).get("components")
    if algorithm.adv_estimator == "gae" if critic is None else critic:
        raise ConfigError(
            "a critic",
            "would learn that trajectories without a score return 0",
            "Set algorithm.adv_estimator to one without a critic, such as grpo.",
        )
    if components and (algorithm.use_kl_in_reward or algorithm.adv_estimator != "grpo"):
        raise ConfigError(
            f"trainer.longvt.components with adv_estimator={algorithm.adv_estimator}, "
            f"use_kl_in_reward={algorithm.use_kl_in_reward}",
            "are GRPO's advantages of each component, and take the place of all others",
            "Set adv_estimator=grpo and use_kl_in_reward=false, or leave components out.",
        )


def check_agents(names: Iterable[str]) -> None:
    """Rows of other agent loops have no transcript: no reward, and nothing to record."""
    others = sorted({*names} - {"longvt_agent"})
    if others:
        raise ConfigError(f"rows with agent_name {others}", "cannot be trained on by longvt_sync", "Leave them out.")


def _check_tools(config: DictConfig, model: str) -> None:
    """Crops must have sizes that the model's processor leaves alone."""
    from transformers import AutoProcessor

    path = config.actor_rollout_ref.rollout.multi_turn.tool_config_path
    for tool in read_tools(path) if path else ():
        if tool.is_crop:
            processor = AutoProcessor.from_pretrained(model).image_processor
            check_suited(tool.crop.policy, processor, f"{tool.name} in {path}")


def _model_type(model: str) -> str:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(model, trust_remote_code=False).model_type
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"actor_rollout_ref.model.path={model}",
            f"is not a checkpoint that transformers can read ({str(error).splitlines()[0]})",
            "Name a folder with a config.json, or a model of the hub.",
        ) from error
