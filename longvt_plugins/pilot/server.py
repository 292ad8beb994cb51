"""``vllm serve`` of a checkpoint on the loopback, as the recipe's engine would run it, and its end.

The server lives in a session of its own. It is ended when the block ends, when this process is told to end, and, by
the kernel, when this process is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from longvt_plugins.errors import ConfigError
from longvt_plugins.evaluation.evaluate import SERVED

GPU_SHARE = 0.9
"""Of the GPU's memory: here the engine has it alone."""
_PR_SET_PDEATHSIG = 1


@contextmanager
def serve(recipe: DictConfig, checkpoint: str, folder: str | os.PathLike[str], start_s: float = 900.0) -> Iterator[str]:
    """Base URL of a server that serves ``checkpoint`` under that name.

    Args:
        folder: for the server's log and chat template.
        start_s: seconds that it may take to answer.

    Raises:
        ConfigError: it ended, or did not answer in time; with the end of its log.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", checkpoint, "--host", "127.0.0.1"]
    command += ["--port", str(port), *arguments(recipe, folder)]
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with log.open("wb") as output:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        try:
            _wait(server, f"http://127.0.0.1:{port}/health", start_s, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _end(server)
    finally:
        signal.signal(signal.SIGTERM, previous)


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


def template_hash(recipe: DictConfig) -> str:
    """Of the chat template that ``serve`` starts with, as an evaluation's header has it."""
    template = recipe.actor_rollout_ref.model.custom_chat_template
    return blake2b(template.encode(), digest_size=16).hexdigest() if template else SERVED


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


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _wait(server: subprocess.Popen, health: str, start_s: float, log: Path) -> None:
    deadline = time.monotonic() + start_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            rule = f"ended with code {server.returncode}"
            break
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    else:
        rule = f"did not answer within {start_s:.0f} s"
    last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise ConfigError("vllm serve", f"{rule}:\n{last}", f"See {log}, or pass --url of a server of your own.")


def _end(server: subprocess.Popen) -> None:
    """The server and what it started: asked first, then forced."""
    for number, wait_s in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        try:
            os.killpg(server.pid, number)
            server.wait(wait_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
