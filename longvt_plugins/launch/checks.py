"""Rules that a composed recipe must keep: files, batch arithmetic, token budget, trainer and loop, options.

The rules are verl's own assertions (0.9.1: ``verl/utils/config.py``, ``verl/workers/config/actor.py``,
``verl/workers/engine_workers.py``), which it makes minutes into a run, and those of our parts. Nothing is downloaded,
decoded or contacted.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from longvt_plugins.datasets import rl_options
from longvt_plugins.errors import LongVTError
from longvt_plugins.loops.options import LoopOptions, check_trainer
from longvt_plugins.tokens.budget import MARKS
from longvt_plugins.tokens.profiles import check_stamp, profile_named
from longvt_plugins.tools.options import CropOptions
from longvt_plugins.tools.tool_file import read_tools
from longvt_plugins.trainer import options as trainer_options
from longvt_plugins.trainer import preflight
from longvt_plugins.trainer.inclusion import GROUP_ESTIMATORS
from longvt_plugins.types import RewardRecord

from .compose import files_of
from .finding import Finding

TRAINER_MODES = ("sync", "colocate_async", "separate_async", "longvt_sync")
ENGINES = ("vllm", "sglang")
AGENT_LOOPS = ("single_turn_agent", "tool_agent", "longvt_agent")


def unresolved_values(recipe: DictConfig) -> list[Finding]:
    """Values that cannot be computed, one for each cause."""
    return list({finding.why: finding for finding in _unresolved(recipe, "")}.values())


def unresolved(recipe: DictConfig) -> list[Finding]:
    """``unresolved_values``, and ``rollout.name``, which verl demands."""
    found = unresolved_values(recipe)
    if OmegaConf.is_missing(recipe.actor_rollout_ref.rollout, "name"):
        key = "actor_rollout_ref.rollout.name"
        found.append(Finding("missing-value", key, "verl has no default engine", "Set it to vllm."))
    return found


def _unresolved(node: DictConfig | ListConfig, prefix: str) -> Iterator[Finding]:
    for key in node if isinstance(node, DictConfig) else range(len(node)):
        name = f"{prefix}{key}"
        if OmegaConf.is_missing(node, key):
            continue
        try:
            value = node[key]
        except Exception as error:
            written = OmegaConf.to_container(node, resolve=False)[key]
            why = f"cannot be computed ({str(error).splitlines()[0]})"
            yield Finding("unresolved-value", f"{name}={written}", why, "Correct it, or set what it refers to.")
            continue
        if isinstance(value, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, key):
            yield from _unresolved(value, f"{name}.")


def data_files(recipe: DictConfig) -> Iterator[Finding]:
    """Data, checkpoint and media, which a cluster may have and this machine not."""
    for split in ("train", "val"):
        for path in files_of(recipe, split) or ["null"]:
            if not Path(path).expanduser().is_file():
                yield missing_file(f"data.{split}_files={path}", "the dataset")
    model = recipe.actor_rollout_ref.model.path
    if is_local(model) and not Path(model).expanduser().joinpath("config.json").is_file():
        yield missing_file(f"actor_rollout_ref.model.path={model}", "a checkpoint with its config.json")
    longvt = recipe.data.get("longvt") or {}
    yield from _errors(
        "media-profile", lambda: check_stamp(Path(model).expanduser(), profile_named(longvt.get("profile")).name)
    )
    root = longvt.get("video_root")
    if root and not Path(root).expanduser().is_dir():
        yield missing_file(f"data.longvt.video_root={root}", "the folder of the media")


def code_files(recipe: DictConfig) -> Iterator[Finding]:
    """Tool and loop configurations, and the modules of dataset and reward."""
    rollout = recipe.actor_rollout_ref.rollout
    paths = {
        "actor_rollout_ref.rollout.multi_turn.tool_config_path": rollout.multi_turn.tool_config_path,
        "actor_rollout_ref.rollout.multi_turn.function_tool_path": rollout.multi_turn.function_tool_path,
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": rollout.agent.agent_loop_config_path,
        "data.custom_cls.path": recipe.data.custom_cls.path,
        "reward.custom_reward_function.path": recipe.reward.custom_reward_function.path,
    }
    for key, path in paths.items():
        if path and not (_module_exists(path[6:]) if path.startswith("pkg://") else Path(path).is_file()):
            yield missing_file(f"{key}={path}", "what the run imports or reads at its start")


def batch(recipe: DictConfig) -> Iterator[Finding]:
    actor, rollout = recipe.actor_rollout_ref.actor, recipe.actor_rollout_ref.rollout
    prompts, mini, n = recipe.data.train_batch_size, actor.ppo_mini_batch_size, rollout.n
    gpus = recipe.trainer.nnodes * recipe.trainer.n_gpus_per_node
    ulysses = actor.get("ulysses_sequence_parallel_size") or 1
    engine = rollout.tensor_model_parallel_size * rollout.pipeline_model_parallel_size * rollout.data_parallel_size

    def fault(what: str, why: str, remedy: str) -> Finding:
        return Finding("batch-size", what, why, remedy)

    if mini > prompts:
        what = f"ppo_mini_batch_size={mini}, train_batch_size={prompts}"
        yield fault(what, "an update cannot use more prompts than a step has", "Lower the former.")
    if not actor.use_dynamic_bsz and prompts * n % gpus:
        what = f"train_batch_size={prompts} * n={n}"
        yield fault(what, f"cannot be shared equally by {gpus} GPUs", "Make the product a multiple of the GPUs.")
    elif gpus % ulysses:
        what = f"ulysses_sequence_parallel_size={ulysses}"
        yield fault(what, f"does not divide {gpus} GPUs", "Choose a divisor.")
    elif mini * n % (gpus // ulysses):
        what = f"ppo_mini_batch_size={mini} * n={n}"
        yield fault(what, f"is no multiple of {gpus // ulysses} data-parallel ranks", "Make it one.")
    if ulysses > 1 and not recipe.actor_rollout_ref.model.use_remove_padding:
        remedy = "Set actor_rollout_ref.model.use_remove_padding=true."
        yield fault(f"ulysses_sequence_parallel_size={ulysses}", "needs sequences without padding", remedy)
    if gpus % engine:
        yield fault(f"a rollout replica of {engine} GPUs", f"does not divide {gpus}", "Lower its parallel sizes.")
    if n < 2 and recipe.algorithm.adv_estimator in GROUP_ESTIMATORS:
        what = f"rollout.n={n} with adv_estimator={recipe.algorithm.adv_estimator}"
        yield Finding("group-of-one", what, "a group of one has no advantage: nothing is learnt", "Set n to 8 or more.")
    yield from _micro_batches(recipe)


def _micro_batches(recipe: DictConfig) -> Iterator[Finding]:
    parts = recipe.actor_rollout_ref
    if parts.actor.use_dynamic_bsz:
        whole = recipe.data.max_prompt_length + recipe.data.max_response_length
        ulysses = parts.actor.get("ulysses_sequence_parallel_size") or 1
        shared = parts.actor.ppo_max_token_len_per_gpu * ulysses
        if shared < whole:
            what = f"actor.ppo_max_token_len_per_gpu={parts.actor.ppo_max_token_len_per_gpu}"
            why = f"one sequence may take {whole} tokens, and {ulysses} GPUs share {shared}"
            yield Finding("micro-batch", what, why, f"Set it to {-(-whole // ulysses)} or more.")
        return
    sizes = {"actor.ppo_micro_batch_size": parts.actor, "rollout.log_prob_micro_batch_size": parts.rollout}
    if parts.actor.use_kl_loss or recipe.algorithm.use_kl_in_reward:
        sizes["ref.log_prob_micro_batch_size"] = parts.ref
    for name, part in sizes.items():
        key = name.partition(".")[2]
        given = [size for size in (part.get(key), part.get(f"{key}_per_gpu")) if size is not None]
        if len(given) != 1:
            what = f"actor_rollout_ref.{name}"
            why = f"verl wants one of it and {key}_per_gpu, and {len(given) or 'neither'} is given"
            yield Finding("micro-batch", what, why, f"Set {key}_per_gpu alone.")


def budget(recipe: DictConfig) -> Iterator[Finding]:
    """Frames and tokens at their most, from the recipe alone; labels and words are not counted."""
    data, rollout = recipe.data, recipe.actor_rollout_ref.rollout
    whole = data.max_prompt_length + data.max_response_length
    if rollout.max_model_len and rollout.max_model_len < whole:
        what = f"rollout.max_model_len={rollout.max_model_len}"
        yield Finding("context-length", what, f"prompt and response may take {whole}", f"Set it to {whole}.")
    if not rollout.enable_chunked_prefill and rollout.max_num_batched_tokens < whole:
        what = f"rollout.max_num_batched_tokens={rollout.max_num_batched_tokens} without chunked prefill"
        yield Finding("context-length", what, f"one prompt may take {whole}", "Raise it, or enable chunked prefill.")
    crops = _crops(recipe)
    options, sampling = rl_options.read_options(data)
    profile = profile_named(options.get("profile"))
    patch = crops[0].policy.patch if crops else profile.overview.patch
    overview = replace(profile.overview, **{"patch": patch, **sampling})
    shown = overview.max_frames * _frame(overview.max_pixels, patch)
    if not profile.video_tokens and shown > data.max_prompt_length and not options.get("shrink"):
        what = f"data.longvt.overview: {overview.max_frames} frames of {overview.max_pixels} pixels"
        why = f"take {shown} tokens, and data.max_prompt_length is {data.max_prompt_length}"
        yield Finding("prompt-length", what, why, "Lower max_frames, raise the length, or set data.longvt.shrink=true.")
    loop = LoopOptions.of(rollout, data.max_response_length)
    most = max((crop.policy.max_frames for crop in crops), default=0)
    images = (0 if profile.video_tokens else overview.max_frames) + most * loop.limits.max_calls
    if rollout.get("limit_images") is not None and rollout.limit_images < images:
        what = f"rollout.limit_images={rollout.limit_images}"
        why = f"overview and {loop.limits.max_calls} crops may show {images}, and the engine refuses more"
        yield Finding("image-limit", what, why, f"Set it to {images}.")
    room = data.max_response_length - loop.answer_tokens
    for crop in crops:
        tokens = crop.policy.max_frames * _frame(crop.policy.max_pixels, crop.policy.patch)
        if tokens > room:
            what = f"crop_video: {crop.policy.max_frames} frames of {crop.policy.max_pixels} pixels"
            why = f"take {tokens} tokens, and a response has room for {room} beside the answer: no crop is whole"
            yield Finding("crop-length", what, why, "Lower them, or raise data.max_response_length.")


def _frame(pixels: int, patch: int) -> int:
    return pixels // patch**2 + MARKS


def engine(recipe: DictConfig) -> Iterator[Finding]:
    name, profile = recipe.actor_rollout_ref.rollout.name, (recipe.data.get("longvt") or {}).get("profile")
    if name not in ENGINES:
        yield _not_one_of("engine", "actor_rollout_ref.rollout.name", name, ENGINES)
    elif name != "vllm" and profile == "native":
        what = f"data.longvt.profile=native with rollout.name={name}"
        yield Finding("engine", what, "positions of videos are proven for vLLM alone", "Use frames-time, or vllm.")


def trainer(recipe: DictConfig) -> Iterator[Finding]:
    agent, mode = recipe.actor_rollout_ref.rollout.agent, recipe.trainer.v1.trainer_mode
    ours = agent.default_agent_loop == "longvt_agent"
    if mode not in TRAINER_MODES:
        yield _not_one_of("trainer-mode", "trainer.v1.trainer_mode", mode, TRAINER_MODES)
    elif ours:
        yield from _errors("trainer-mode", lambda: check_trainer(recipe.trainer))
    if mode == "longvt_sync" and not recipe.trainer.use_v1:
        yield Finding("trainer-mode", "trainer.use_v1=false", "longvt_sync is a mode of the V1 trainer", "Remove it.")
    config = agent.agent_loop_config_path
    loops = [*AGENT_LOOPS, *_names(config)] if config and Path(config).is_file() else AGENT_LOOPS
    if agent.default_agent_loop not in loops:
        key = "actor_rollout_ref.rollout.agent.default_agent_loop"
        yield _not_one_of("agent-loop", key, agent.default_agent_loop, loops)
    elif mode == "longvt_sync" and not ours:
        what = f"default_agent_loop={agent.default_agent_loop} with trainer_mode=longvt_sync"
        yield Finding("agent-loop", what, "the trainer reads the transcript of longvt_agent", "Use longvt_agent.")
    if mode == "longvt_sync":
        yield from _errors("algorithm", lambda: preflight.check_algorithm(recipe))
    if ours and not recipe.reward.custom_reward_function.path:
        what = "reward.custom_reward_function.path=null"
        why = "verl's built-in score knows none of LongVT's sources"
        yield Finding("no-reward", what, why, "Set it to pkg://longvt_plugins.reward.")
    if recipe.data.get("longvt") and recipe.data.custom_cls.path != "pkg://longvt_plugins.datasets":
        what, why = "data.longvt", "only LongVTDataset reads it"
        remedy = "Set data.custom_cls={path: pkg://longvt_plugins.datasets, name: LongVTDataset}."
        yield Finding("dataset-option", what, why, remedy)
    groups = recipe.algorithm.filter_groups
    if ours and groups.enable and groups.metric not in ("reward", *RewardRecord.model_fields):
        known = ["reward", *RewardRecord.model_fields]
        yield _not_one_of("filter-metric", "algorithm.filter_groups.metric", groups.metric, known)


def options(recipe: DictConfig) -> Iterator[Finding]:
    """What the loop, the reward, the tool, the dataset and the trainer would refuse, each by itself."""
    data, rollout = recipe.data, recipe.actor_rollout_ref.rollout
    yield from _errors("loop-option", lambda: LoopOptions.of(rollout, data.max_response_length))
    yield from _errors("reward-option", lambda: preflight.check_reward(recipe.reward))
    yield from _errors("trainer-option", lambda: trainer_options.read_options(recipe.trainer))
    yield from _errors("hardware", lambda: preflight.check_hardware(recipe))
    yield from _errors("tool-option", lambda: _crops(recipe))
    yield from _errors("dataset-option", lambda: _overview(data))
    yield from _errors("media-profile", lambda: profile_named((data.get("longvt") or {}).get("profile")))


def _overview(data: DictConfig) -> None:
    chosen, sampling = rl_options.read_options(data)
    if chosen.get("profile") in (None, "frames-time"):
        replace(profile_named(None).overview, **sampling)


def _crops(recipe: DictConfig) -> list[CropOptions]:
    """Options of each crop tool; a file that is missing has a finding of its own.

    Raises:
        ConfigError: an option that the tool would refuse, or a file that is no tool configuration.
    """
    path = recipe.actor_rollout_ref.rollout.multi_turn.tool_config_path
    if not path or not Path(path).is_file():
        return []
    return [tool.crop for tool in read_tools(path) if tool.is_crop]


def _errors(name: str, check: Any) -> Iterator[Finding]:
    try:
        check()
    except LongVTError as error:
        yield Finding.of(name, error)


def _names(path: str) -> list[str]:
    return [str(loop.get("name")) for loop in yaml.safe_load(Path(path).read_text()) or ()]


def _not_one_of(name: str, key: str, value: str, known: Any) -> Finding:
    nearest = difflib.get_close_matches(str(value), known, 1)
    remedy = f"Did you mean {nearest[0]}?" if nearest else "Choose one of them."
    return Finding(name, f"{key}={value}", f"known are {', '.join(known)}", remedy)


def missing_file(what: str, purpose: str) -> Finding:
    return Finding("missing-file", what, f"does not exist here, and is {purpose}", "Correct the path, or make it.")


def is_local(model: str) -> bool:
    """Whether a model is a folder and not a name of the hub (``owner/name``)."""
    return model.startswith((".", "/", "~")) or model.count("/") != 1 or Path(model.partition("/")[0]).is_dir()


def _module_exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
