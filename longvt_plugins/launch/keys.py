"""Keys of a recipe that verl does not know, knows under another name, or accepts and then ignores.

verl composes its whole default configuration, so a key that is not in it is mistyped, unless verl reads it with
``get`` (``ADDITIONS``). The tables were made from verl 0.9.1: its configuration, and which of its keys nothing reads.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from .finding import Finding

ADDITIONS = frozenset(
    {
        "longvt",
        "data.longvt",
        "trainer.longvt",
        "actor_rollout_ref.rollout.limit_images",
        "actor_rollout_ref.rollout.enable_sleep_mode",
        "actor_rollout_ref.rollout.custom",
        "actor_rollout_ref.rollout.agent.agent_loop_manager_class",
        "actor_rollout_ref.rollout.engine_kwargs.vllm",
        "actor_rollout_ref.rollout.engine_kwargs.sglang",
        "actor_rollout_ref.model.override_config",
        "actor_rollout_ref.actor.fsdp_config.mixed_precision",
        "reward.custom_reward_function.reward_kwargs",
        "ray_kwargs.ray_init",
    }
)
"""Keys, with all below them, that verl reads although its default configuration does not list them, and our own."""

_TURNS = "actor_rollout_ref.rollout.multi_turn"
_LIMITS = "actor_rollout_ref.rollout.custom.longvt"
MOVED = {
    f"{_TURNS}.max_tool_call": (f"{_LIMITS}.max_calls", "verl has no limit of calls; the loop longvt_agent has"),
    f"{_TURNS}.max_turns": (f"{_TURNS}.max_assistant_turns", "verl renamed it"),
    f"{_TURNS}.completion_callback": ("actor_rollout_ref.rollout.agent.default_agent_loop", "agent loops replaced it"),
    f"{_TURNS}.interaction_config_path": (None, "verl 0.9.1 has no interactions"),
    "actor_rollout_ref.rollout.chat_scheduler": (
        "actor_rollout_ref.rollout.agent.default_agent_loop",
        "agent loops replaced it",
    ),
    "actor_rollout_ref.rollout.update_weights_bucket_megabytes": (
        "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes",
        "verl moved it",
    ),
    "data.sglang_video": ("data.longvt.profile", "the media profile says how frames reach the model"),
    "ray_init.num_cpus": ("ray_kwargs.ray_init.num_cpus", "verl moved it"),
    "reward_model.launch_reward_fn_async": (None, "rewards are always computed while rollouts go on"),
    "reward_model.reward_kwargs": ("reward.custom_reward_function.reward_kwargs", "verl moved it"),
    "custom_reward_function.reward_kwargs": ("reward.custom_reward_function.reward_kwargs", "verl moved it"),
    "trainer.use_legacy_worker_impl": (None, "verl has one implementation of workers"),
}
"""What Hydra refuses: the key that does it now (``None``: nothing), and why."""

_UNREAD = "nothing in verl 0.9.1 reads it"
DEAD = {
    "custom_reward_function": ("reward.custom_reward_function", "verl accepts it and uses its built-in score"),
    "reward_model": ("reward.reward_model, or reward.reward_manager", "verl accepts it and does not read it"),
    "sandbox_fusion": ("reward.sandbox_fusion", "verl accepts it and does not read it"),
    "data.return_raw_chat": (None, f"{_UNREAD}: rows always carry the messages"),
    "data.return_raw_input_ids": (None, _UNREAD),
    "data.return_full_prompt": (None, _UNREAD),
    "data.return_multi_modal_inputs": (None, f"{_UNREAD}: the agent loop makes the inputs"),
    "data.reward_fn_key": (None, f"{_UNREAD}: the reward always gets data_source"),
    "data.truncation": ("data.longvt.shrink, or data.filter_overlong_prompts", f"{_UNREAD}: prompts are never cut"),
    f"{_TURNS}.use_inference_chat_template": (None, _UNREAD),
    f"{_TURNS}.tokenization_sanity_check_mode": (None, f"{_UNREAD}: turns are joined as tokens"),
    f"{_TURNS}.num_repeat_rollouts": (None, _UNREAD),
    "actor_rollout_ref.rollout.over_sample_rate": (None, _UNREAD),
}
"""What is accepted without effect: the key that has it (``None``: nothing has), and why."""


def unknown_keys(recipe: DictConfig, base: DictConfig) -> list[Finding]:
    return [_unknown(key, base) for key in added_keys(recipe, base)]


def dead_keys(recipe: DictConfig, base: DictConfig) -> list[Finding]:
    """Keys of ``DEAD`` to which the recipe gives another value than verl does."""
    found = []
    for key, value in leaves(recipe):
        dead = entry(DEAD, key)
        if dead is not None and value != OmegaConf.select(base, key, default=None):
            found.append(Finding("dead-key", f"{key}={value}", dead[1], use_instead(dead[0])))
    return found


def refused_override(override: str, key: str, base: DictConfig) -> Finding:
    """Why Hydra refused ``override``, an assignment to ``key`` which the recipe does not have."""
    if any(key == known or key.startswith(f"{known}.") for known in ADDITIONS):
        return Finding("needs-plus", override, "the recipe does not have this key, and verl reads it", f"+{override}")
    return _unknown(key, base)


def added_keys(
    recipe: DictConfig, base: DictConfig, prefix: str = "", additions: frozenset[str] = ADDITIONS
) -> Iterator[str]:
    """Keys of ``recipe`` that ``base`` lacks, outermost first, without those of ``additions``."""
    known = set(base.keys())  # "key in base" is False where the value is "???"
    for key in recipe:
        name = f"{prefix}{key}"
        if name in additions:
            continue
        if key not in known:
            yield from _outermost_known(recipe, key, name)
            continue
        no_value = OmegaConf.is_missing(recipe, key) or OmegaConf.is_interpolation(recipe, key)
        if not no_value and isinstance(recipe[key], DictConfig) and isinstance(base[key], DictConfig):
            yield from added_keys(recipe[key], base[key], f"{name}.", additions)


def _outermost_known(recipe: DictConfig, key: str, name: str) -> Iterator[str]:
    """``name``, or the keys below it, where a table names some of these."""
    inside = any(known.startswith(f"{name}.") for known in (*ADDITIONS, *MOVED))
    if inside and not OmegaConf.is_interpolation(recipe, key) and isinstance(recipe[key], DictConfig):
        yield from added_keys(recipe[key], OmegaConf.create({}), f"{name}.")
    else:
        yield name


def entry(table: dict[str, tuple[str | None, str]], key: str) -> tuple[str | None, str] | None:
    """The entry of ``table`` for ``key`` or the nearest key above it."""
    parts = key.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((table[name] for name in above if name in table), None)


def use_instead(key: str | None) -> str:
    return f"Use {key}." if key else "Remove it."


def _unknown(key: str, base: DictConfig) -> Finding:
    moved = entry(MOVED, key)
    if moved is not None:
        return Finding("moved-key", key, moved[1], use_instead(moved[0]))
    return Finding("unknown-key", key, "verl does not know this key and would not read it", suggestion(key, base))


def suggestion(key: str, base: DictConfig) -> str:
    """The known key that ``key`` looks like: near it, or of the same name elsewhere."""
    known = [*dict(leaves(base)), *ADDITIONS]
    last = key.rpartition(".")[2]
    near = difflib.get_close_matches(key, known, 5, 0.8)
    # A long common prefix makes any two keys similar.
    nearest = [other for other in near if difflib.get_close_matches(last, [other.rpartition(".")[2]])]
    if not nearest:
        nearest = [other for other in known if other.rpartition(".")[2] == last][:1]
    return f"Did you mean {nearest[0]}?" if nearest else "Remove it, or add it with + if your own code reads it."


def leaves(config: DictConfig) -> Iterator[tuple[str, object]]:
    """Dotted keys and values, interpolations as they are written."""
    for key, value in OmegaConf.to_container(config, resolve=False).items():
        yield from _walk(key, value)


def _walk(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _walk(f"{name}.{key}", inner)
    else:
        yield name, value
