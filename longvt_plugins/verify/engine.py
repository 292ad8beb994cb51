"""Engines for ``verify``: verl's client interface over a script, or over a real vLLM that also scores.

A trajectory that makes sense of tools cannot be had from any model on request, so the script writes the first
turns (calls, good and bad) and the engine samples the last one. The finished sequence is then scored in one pass,
which gives the engine's probability of every token, the scripted ones included.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from omegaconf import DictConfig
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.utils import qwen2_5_vl_dedup_image_tokens

from .sample import Generation

Script = Callable[[str, int], str | None]
"""``(request_id, turn) -> text``; ``None`` lets the engine write."""
KV_CACHE_BYTES = 4 << 30
"""On a GPU. One sequence of a 72B model takes 2 GiB of it."""
STEPS = {"global_steps": 0, "min_global_steps": 0, "max_global_steps": 0}


class RecordingClient(LLMServerClient):
    """Plays ``plays[k]`` for the k-th trajectory that asks, and keeps what each request was.

    Args:
        engine: an ``AsyncLLM``, or ``None``: then the script must write every turn.
    """

    def __init__(self, config: DictConfig, processor: Any, plays: Sequence[Sequence[str | None]], engine: Any = None):
        super().__init__(config)
        self._rollout = config.actor_rollout_ref.rollout
        self._processor, self._plays, self._engine = processor, plays, engine
        self.generations: dict[str, list[Generation]] = {}
        self.log_probs: dict[str, list[list[float]]] = {}
        self.media: dict[str, tuple[Any, Any]] = {}

    async def generate(
        self, request_id, *, prompt_ids, sampling_params, image_data=None, video_data=None, **kwargs: Any
    ) -> TokenOutput:
        done = self.generations.setdefault(request_id, [])
        play = self._plays[list(self.generations).index(request_id) % len(self._plays)]
        text = play[min(len(done), len(play) - 1)]
        self.media[request_id] = image_data, video_data
        if text is None:
            ids, log_probs = await self._sample(prompt_ids, sampling_params, image_data, video_data)
        else:
            ids = self._processor.tokenizer.encode(text + "<|im_end|>", add_special_tokens=False)
            log_probs = [float("nan")] * len(ids)
        done.append(Generation(tuple(prompt_ids), tuple(ids), forced=text is not None))
        self.log_probs.setdefault(request_id, []).append(log_probs)
        return TokenOutput(token_ids=ids, log_probs=[0.0] * len(ids), stop_reason="completed", extra_fields=dict(STEPS))

    async def score(self, request_id: str, prompt_length: int, ids: Sequence[int]) -> np.ndarray:
        """Log-probabilities of ``ids[prompt_length:]``, in one pass over the finished sequence."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, prompt_logprobs=0, temperature=1.0)
        final = await self._run(ids, params, *self.media[request_id])
        rows = final.prompt_logprobs[prompt_length:]
        return np.array([row[token].logprob for token, row in zip(ids[prompt_length:], rows, strict=True)])

    async def _sample(self, prompt_ids, sampling_params, images, videos) -> tuple[list[int], list[float]]:
        from vllm import SamplingParams

        # The policy can never write placeholders: verl masks them in its servers too.
        banned = {self._processor.image_token_id: -100.0, self._processor.video_token_id: -100.0}
        params = SamplingParams(max_tokens=24, logprobs=0, temperature=1.0, logit_bias=banned, seed=1)
        completion = (await self._run(prompt_ids, params, images, videos)).outputs[0]
        ids = list(completion.token_ids)
        return ids, [row[token].logprob for token, row in zip(ids, completion.logprobs, strict=True)]

    async def _run(self, ids, params, images, videos):
        from vllm.inputs import TokensPrompt

        media = {kind: data for kind, data in (("image", images), ("video", videos)) if data}
        prompt = TokensPrompt(
            prompt_token_ids=qwen2_5_vl_dedup_image_tokens(list(ids), self._processor), multi_modal_data=media
        )
        final = None
        async for output in self._engine.generate(prompt, params, request_id=uuid4().hex):
            final = output
        return final


def open_vllm(model: str, dtype: str, max_model_len: int, max_images: int) -> Any:
    """A vLLM engine as ``main_ppo`` would run it: with CUDA graphs on a GPU, eager on a CPU."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    from longvt_plugins import cpu
    from longvt_plugins.upstream import verl_fp32_head

    # CUDA may be in use here already, and a fork cannot use it again.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    # Top-p and top-k, which FlashInfer would sample, are off: it need not be installed.
    os.environ["VLLM_USE_FLASHINFER_SAMPLER"] = "0"
    # As the recipes for GPUs; Actor has the other side.
    os.environ[verl_fp32_head.VARIABLE] = "1"
    if dtype == "float32":
        # Triton's attention would multiply in TF32, with ten bits.
        os.environ["TRITON_F32_DEFAULT"] = "ieee"
    hardware: dict[str, Any] = (
        {"enforce_eager": True}
        if cpu.chosen()
        else {
            # A given size needs no look at what others on this GPU hold, which may change meanwhile.
            "kv_cache_memory_bytes": KV_CACHE_BYTES,
            "gpu_memory_utilization": 0.05,
            "compilation_config": {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"},
        }
    )
    arguments = AsyncEngineArgs(
        model=model,
        dtype=dtype,
        max_model_len=max_model_len,
        max_num_seqs=8,
        max_num_batched_tokens=max_model_len,
        limit_mm_per_prompt={"image": max_images, "video": 2},
        skip_mm_profiling=True,
        **hardware,
    )
    return AsyncLLM.from_engine_args(arguments)
