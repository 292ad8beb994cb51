"""An estimate of the memory that a recipe needs on each GPU, in two moments. Not a measurement.

Update (the engine sleeps, unless ``free_cache_engine`` is off): state + gathered + activations + logits + overhead.
  state        4 numbers a parameter (weight, gradient, two of Adam) in ``fsdp_config.model_dtype``, over the shards;
               offloaded state too: verl loads it for the update
  gathered     two layers and the embeddings whole, in bf16
  activations  each layer's input in bf16, and one layer recomputed: 8 hidden + 6 intermediate numbers a token in bf16
               (without gradient checkpointing: that for every layer)
  logits       vocabulary x tokens x 4 bytes: bf16, and their gradient (none with ``use_fused_kernels``)
  tokens       of a micro batch on one GPU: its sequences at full length, or the dynamic budget; over ulysses
Rollout: ``gpu_memory_utilization`` of the card + state that is not offloaded + a resident reference policy + overhead.
  The engine's share must hold its weights in bf16 and the KV cache of one sequence of ``max_model_len``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from .finding import Finding

GIB = 2**30
OVERHEAD_GIB = 4.0
"""CUDA contexts, NCCL and what a sleeping engine keeps: an allowance."""
BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2}


@dataclass(frozen=True)
class Model:
    """Sizes of a Qwen-VL model, dense or of experts."""

    hidden: int
    layers: int
    intermediate: int
    """Of the experts that a token meets, where there are experts."""
    vocabulary: int
    kv_numbers: int
    """Keys and values of one token in one layer."""
    parameters: int
    layer: int
    """Parameters of one layer."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Model:
        """From a ``config.json``; norms and biases are not counted.

        Raises:
            KeyError: it is of no such model.
        """
        text, vision = config.get("text_config", config), config["vision_config"]
        hidden, vocabulary = text["hidden_size"], text["vocab_size"]
        heads = text["num_attention_heads"]
        head = text.get("head_dim") or hidden // heads
        kv = text["num_key_value_heads"] * head
        experts = text.get("num_experts") or 0
        inner = text["moe_intermediate_size"] if experts else text["intermediate_size"]
        layer = 2 * hidden * heads * head + 2 * hidden * kv + 3 * hidden * inner * max(1, experts)
        tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))
        embeddings = vocabulary * hidden * (1 if tied else 2)
        return cls(
            hidden=hidden,
            layers=text["num_hidden_layers"],
            intermediate=inner * (text.get("num_experts_per_tok") or 1 if experts else 1),
            vocabulary=vocabulary,
            kv_numbers=2 * kv,
            parameters=layer * text["num_hidden_layers"] + embeddings + _vision(vision, hidden),
            layer=layer,
        )


def _vision(vision: Mapping[str, Any], hidden: int) -> int:
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    deep = len(vision.get("deepstack_visual_indexes") or ())
    merged = width * vision.get("spatial_merge_size", 2) ** 2
    matrices = 2 if "deepstack_visual_indexes" in vision else 3
    block = 4 * width**2 + matrices * width * inner
    return vision["depth"] * block + (1 + deep) * (merged**2 + merged * hidden)


def _qwen(hidden, layers, heads, kv, inner, vocabulary, vision, tied=False) -> Model:
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    text = dict(zip(sizes, (hidden, layers, heads, kv, inner), strict=True))
    text |= {"head_dim": 128, "vocab_size": vocabulary, "tie_word_embeddings": tied}
    return Model.of({"text_config": text, "vision_config": vision})


_VISION_2_5 = {"hidden_size": 1280, "intermediate_size": 3420, "depth": 32}
_VISION_3_LARGE = {"hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "deepstack_visual_indexes": [8, 16, 24]}
_VISION_3_SMALL = {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24, "deepstack_visual_indexes": [5, 11, 17]}
RELEASED = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen(2048, 36, 16, 2, 11_008, 151_936, _VISION_2_5, tied=True),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen(3584, 28, 28, 4, 18_944, 152_064, _VISION_2_5),
    "Qwen/Qwen3-VL-4B-Instruct": _qwen(2560, 36, 32, 8, 9_728, 151_936, _VISION_3_SMALL, tied=True),
    "Qwen/Qwen3-VL-8B-Instruct": _qwen(4096, 36, 32, 8, 12_288, 151_936, _VISION_3_LARGE),
}
"""From their ``config.json``."""


@dataclass(frozen=True)
class Memory:
    """GiB on each GPU."""

    state: float
    gathered: float
    activations: float
    logits: float
    engine_kept: float
    """In an update."""
    engine: float
    """In a rollout."""
    engine_least: float
    """What the engine cannot do without."""
    resident: float
    """Of the trainer, in a rollout."""

    @property
    def update(self) -> float:
        return self.state + self.gathered + self.activations + self.logits + self.engine_kept + OVERHEAD_GIB

    @property
    def rollout(self) -> float:
        return self.engine + self.resident + OVERHEAD_GIB

    def __str__(self) -> str:
        other = OVERHEAD_GIB + self.engine_kept
        return (
            f"about {self.update:.0f} GiB in an update ({self.state:.1f} state, {self.gathered:.1f} gathered, "
            f"{self.activations:.1f} activations, {self.logits:.1f} logits, {other:.1f} other), {self.rollout:.0f} "
            f"while rolling out ({self.engine:.1f} engine, of which it needs {self.engine_least:.1f})"
        )


def model_of(recipe: DictConfig) -> Model | None:
    """Sizes of the recipe's model: of its folder, or of a released one that it starts from; ``None``: unknown."""
    for name in (recipe.actor_rollout_ref.model.path, (recipe.get("longvt") or {}).get("base")):
        config = Path(str(name)).expanduser() / "config.json"
        if config.is_file():
            try:
                return Model.of(json.loads(config.read_text()))
            except (KeyError, ValueError):
                return None
        if name in RELEASED:
            return RELEASED[name]
    return None


def estimate(recipe: DictConfig, model: Model, card_gib: float) -> Memory:
    parts, data = recipe.actor_rollout_ref, recipe.data
    actor, rollout = parts.actor, parts.rollout
    gpus = recipe.trainer.nnodes * recipe.trainer.n_gpus_per_node
    shards = actor.fsdp_config.fsdp_size if actor.fsdp_config.fsdp_size > 0 else gpus
    width = BYTES.get(str(actor.fsdp_config.get("model_dtype")), 4)
    whole = data.max_prompt_length + data.max_response_length
    ulysses = actor.get("ulysses_sequence_parallel_size") or 1
    tokens = (actor.ppo_micro_batch_size_per_gpu or 1) * whole / ulysses
    if actor.use_dynamic_bsz:
        tokens = actor.ppo_max_token_len_per_gpu
    layer = 2 * (8 * model.hidden + 6 * model.intermediate)
    kept = 2 * model.hidden if parts.model.enable_gradient_checkpointing else layer
    weights = width * model.parameters / shards
    trained = 0 if (parts.model.get("lora_rank") or 0) > 0 else 3 * weights
    has_reference = actor.use_kl_loss or recipe.algorithm.use_kl_in_reward
    resident = 0.0 if actor.fsdp_config.param_offload else weights
    resident += 0.0 if actor.fsdp_config.optimizer_offload else 2 * trained / 3
    reference = weights if has_reference and not parts.ref.fsdp_config.param_offload else 0.0
    engine = rollout.gpu_memory_utilization * card_gib
    cache = 2 * model.kv_numbers * model.layers * (rollout.max_model_len or whole)
    share = rollout.tensor_model_parallel_size * rollout.pipeline_model_parallel_size
    return Memory(
        state=(weights + trained + reference) / GIB,
        gathered=2 * (2 * model.layer + 2 * model.vocabulary * model.hidden) / GIB,
        activations=tokens * (model.layers * kept + layer) / GIB,
        logits=0.0 if parts.model.use_fused_kernels else 4 * tokens * model.vocabulary / GIB,
        engine_kept=0.0 if rollout.free_cache_engine else engine,
        engine=engine,
        engine_least=(2 * model.parameters + cache) / share / GIB,
        resident=(resident + reference) / GIB,
    )


def check_memory(memory: Memory, card_gib: float) -> Iterator[Finding]:
    """What does not fit on a card of ``card_gib``."""
    if memory.update > card_gib:
        what = f"an update needs about {memory.update:.0f} GiB on each GPU of {card_gib:.0f}"
        largest = max(("state", "activations", "logits", "engine_kept"), key=lambda name: getattr(memory, name))
        remedy = {
            "state": "More GPUs, a larger fsdp_size, or LoRA.",
            "activations": "Raise ulysses_sequence_parallel_size, or turn gradient checkpointing on.",
            "logits": "Raise ulysses_sequence_parallel_size, or lower the micro batch or the dynamic token budget.",
            "engine_kept": "Set rollout.free_cache_engine=true.",
        }[largest]
        yield Finding("memory", what, f"most of it is {largest} ({getattr(memory, largest):.0f} GiB)", remedy)
    if memory.rollout > card_gib:
        what = f"rollouts need about {memory.rollout:.0f} GiB on each GPU of {card_gib:.0f}"
        why = f"the engine takes {memory.engine:.0f} and the trainer keeps {memory.resident:.0f}"
        remedy = (
            "Lower rollout.gpu_memory_utilization, or offload (actor.fsdp_config.param_offload, optimizer_offload)."
        )
        yield Finding("memory", what, why, remedy)
    if memory.engine_least > memory.engine:
        what = f"rollout.gpu_memory_utilization gives the engine {memory.engine:.0f} GiB"
        why = f"its weights and one sequence of max_model_len need {memory.engine_least:.0f}"
        yield Finding("memory", what, why, "Raise it, or rollout.tensor_model_parallel_size.")
