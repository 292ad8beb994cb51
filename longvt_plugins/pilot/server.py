"""``vllm serve`` of a checkpoint on the loopback, as the recipe's engine would run it."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from longvt_plugins.errors import ConfigError
from longvt_plugins.pipeline.serve import served

GPU_SHARE = 0.9
"""Of the GPU's memory: here the engine has it alone."""


@contextmanager
def serve(recipe: DictConfig, checkpoint: str, folder: str | os.PathLike[str], start_s: float = 900.0) -> Iterator[str]:
    """Base URL of a server that serves ``checkpoint`` under that name.

    Args:
        folder: for the server's log and chat template.
        start_s: seconds that it may take to answer.

    Raises:
        StageError: it ended, or did not answer in time; with the last error of its log.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with served(checkpoint, checkpoint, folder / "server.log", arguments(recipe, folder), start_s) as url:
        yield url


def served_model(url: str, key: str) -> str:
    """Name of the one model that a server serves.

    Raises:
        ConfigError: it does not answer, or serves several.
    """
    request = urllib.request.Request(f"{url.rstrip('/')}/models", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            models = [model["id"] for model in json.load(reply)["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(url, f"does not list its models ({error})", "Pass the URL of a server, with /v1.") from error
    if len(models) != 1:
        raise ConfigError(url, f"serves {models}", "Serve the checkpoint alone.")
    return models[0]


def arguments(recipe: DictConfig, folder: Path) -> list[str]:
    """Of ``vllm serve``: what verl gives its engine, with a GPU to itself."""
    rollout, model = recipe.actor_rollout_ref.rollout, recipe.actor_rollout_ref.model
    length = rollout.max_model_len or recipe.data.max_prompt_length + recipe.data.max_response_length
    given = {
        "dtype": rollout.dtype,
        "max-model-len": length,
        "max-num-seqs": rollout.max_num_seqs,
        "max-num-batched-tokens": rollout.max_num_batched_tokens,
        "tensor-parallel-size": rollout.tensor_model_parallel_size,
        "gpu-memory-utilization": GPU_SHARE,
        "logprobs-mode": rollout.logprobs_mode,
        # Else the checkpoint's generation_config.json would add to the recipe's sampling.
        "generation-config": "vllm",
        "enforce-eager": bool(rollout.enforce_eager),
        "trust-remote-code": bool(model.trust_remote_code),
    }
    if rollout.get("limit_images"):
        given["limit-mm-per-prompt"] = {"image": rollout.limit_images}
    if model.custom_chat_template:
        template = folder / "chat_template.jinja"
        template.write_text(model.custom_chat_template, encoding="utf-8")
        given |= {"chat-template": str(template), "chat-template-content-format": "openai"}
    own = OmegaConf.to_container((rollout.get("engine_kwargs") or {}).get("vllm") or OmegaConf.create(), resolve=True)
    given |= {key.replace("_", "-"): value for key, value in own.items() if value is not None}
    return [word for key, value in given.items() for word in _argument(key, value)]


def _argument(key: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    return [f"--{key}", json.dumps(value) if isinstance(value, dict | list) else str(value)]
