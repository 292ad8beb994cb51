"""A recipe and a checkpoint as an ``Evaluation`` and its questions: what a step of the run would roll out.

Rows, prompts and their shrinking are ``LongVTDataset``'s own; sampling, template, tool, limits, profile and reward are
the recipe's. ``n`` questions share a row: a group.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from longvt_plugins.datasets.rl_options import read_options
from longvt_plugins.errors import ConfigError
from longvt_plugins.evaluation.evaluate import Evaluation
from longvt_plugins.evaluation.options import EvaluationOptions
from longvt_plugins.evaluation.questions import Question
from longvt_plugins.launch.compose import compose_leniently, compose_recipe
from longvt_plugins.launch.rows import open_rows
from longvt_plugins.loops.options import LoopOptions
from longvt_plugins.tokens.media import media_of
from longvt_plugins.tokens.profiles import check_stamp, profile_named
from longvt_plugins.tools.tool_file import PACKAGED, crop_tool

REWARD = "pkg://longvt_plugins.reward"
NOWHERE = "http://127.0.0.1/v1"
LISTED = 20
"""Likeliest tokens asked for beside each sampled one; vLLM's limit."""


@dataclass(frozen=True)
class Rollout(Question):
    """One trajectory to be: a question with the prompt that the run would have."""

    prompt: tuple[Mapping[str, Any], ...] = ()

    def messages(self, profile, overview) -> list[dict[str, Any]]:
        return [dict(message) for message in self.prompt]


def read_recipe(name: str, checkpoint: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The recipe that starts from ``checkpoint``.

    Raises:
        ConfigError: it does not compose, an override is refused, or its reward is not this package's.
    """
    overrides = [*overrides, f"actor_rollout_ref.model.path={checkpoint}"]
    recipe, refused = compose_leniently(name, overrides, compose_recipe("ppo_trainer"))
    if refused:
        raise ConfigError(refused[0].what, refused[0].why, refused[0].remedy)
    path = recipe.reward.custom_reward_function.path
    if path != REWARD:
        raise ConfigError(
            f"reward.custom_reward_function.path={path}", "is not what pilot can score", f"Set it to {REWARD}."
        )
    profile = profile_named((recipe.data.get("longvt") or {}).get("profile"))
    if os.path.isdir(checkpoint):
        check_stamp(checkpoint, profile.name)
    return recipe


def evaluation_of(recipe: DictConfig) -> Evaluation:
    """How the recipe's rollouts are asked of a server, which is still to be named (``url``, ``model``).

    Raises:
        ConfigError, ProfileError: the recipe cannot be rolled out over a server.
    """
    rollout, data = recipe.actor_rollout_ref.rollout, recipe.data
    tools = rollout.multi_turn.tool_config_path
    limits = LoopOptions.of(rollout, data.max_response_length)
    chosen, sampling = read_options(data)
    kwargs = _plain(data.get("apply_chat_template_kwargs")) or {}
    # verl samples so; a server would take what is missing from the checkpoint's generation_config.json.
    extra = {"top_k": rollout.top_k, "repetition_penalty": 1.0} | ({"chat_template_kwargs": kwargs} if kwargs else {})
    options = EvaluationOptions(
        profile=chosen.get("profile"),
        overview=sampling,
        loop=asdict(limits.limits) | {"answer_tokens": limits.answer_tokens},
        response_length=data.max_response_length,
        max_images=rollout.get("limit_images"),
        opening="<think>" if kwargs.get("think") else "",
        sampling={
            "temperature": rollout.temperature,
            "top_p": rollout.top_p,
            "logprobs": True,
            "top_logprobs": LISTED,
            "extra_body": extra,
        },
        reward=_plain(recipe.reward.custom_reward_function.get("reward_kwargs")) or {},
    )
    return Evaluation(NOWHERE, "", options, crop_tool(tools or PACKAGED), "crops" if tools else "no-tool")


def rollouts_of(recipe: DictConfig, checkpoint: str, rows: int, n: int) -> tuple[list[Rollout], int]:
    """``n`` rollouts of each of ``rows`` training rows, chosen by ``data.seed``, and how many rows were left out
    because they show pictures, which do not travel to a server.

    Raises:
        DataError: rows that the run would refuse, too.
    """
    dataset = open_rows(recipe, "train", checkpoint, rows)
    rollouts: list[Rollout] = []
    asked = 0
    for item in range(len(dataset)):
        sample, row = dataset[item], dict(dataset.dataframe[item])
        if row["images"]:
            continue
        asked += 1
        videos = sample["tools_kwargs"].get("crop_video", {}).get("create_kwargs", {}).get("videos", ())
        row["shown"] = [[len(ref.times_s), *ref.size] for ref in media_of(sample["raw_prompt"])]
        prompt = tuple(sample["raw_prompt"])
        rollouts += [Rollout(f"{row['longvt_row']}.{k}", row, tuple(videos), prompt) for k in range(n)]
    return rollouts, len(dataset) - asked


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
