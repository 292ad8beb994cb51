"""A recipe from a launch script of LongVT or verl: the same settings here, and what became of each key.

The recipe inherits a shipped one and holds only what differs from it. Keys that verl renamed keep their values under
the new name; LongVT's own become those of this package; what has no effect any more is named, never copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from longvt_plugins.errors import ConfigError
from longvt_plugins.reward.config import plain
from longvt_plugins.reward.sources import ORIGINAL_OPTIONS, from_original

from .compose import compose_recipe, composed
from .keys import ADDITIONS, DEAD, MOVED, entry, leaves, suggestion, use_instead
from .script import read_script

KWARGS = "reward.custom_reward_function.reward_kwargs"
REWARD_OPTIONS = (*ORIGINAL_OPTIONS, "use_recall")
NEW_VALUE = ("data.sglang_video", "completion_callback", "chat_scheduler")
"""Moved keys whose old values mean nothing under the new name."""
REPLACED = {
    "custom_reward_function.path": "compute_score of this package stands for LongVT's reward functions",
    "custom_reward_function.name": "compute_score of this package stands for LongVT's reward functions",
    "actor_rollout_ref.rollout.name": "vLLM's tokens are tested against the trainer's; +inference=sglang has SGLang",
    "actor_rollout_ref.rollout.mode": "there is one mode, async",
    "actor_rollout_ref.rollout.multi_turn.tool_config_path": "crop_video is a native tool here, with its own YAML",
    "actor_rollout_ref.rollout.multi_turn.format": "the loop longvt_agent reads the calls itself",
    "actor_rollout_ref.model.custom_chat_template": "the template of the base has the tool, and is tested",
    "data.custom_cls.path": "LongVTDataset reads LongVT's files unchanged",
    "data.custom_cls.name": "LongVTDataset reads LongVT's files unchanged",
}
"""Keys that keep the value of the base recipe."""
OBJECTIVE = (
    "algorithm.filter_groups.enable",
    "algorithm.filter_groups.metric",
    "actor_rollout_ref.actor.clip_ratio_low",
    "actor_rollout_ref.actor.clip_ratio_high",
)
"""Keys that keep verl's default where a script says nothing: the base optimizes something else."""


@dataclass(frozen=True)
class Note:
    """What became of a key. ``kind``: ``dead``, ``changed``, ``missing`` or ``unknown``."""

    kind: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.key}: {self.why}"


@dataclass
class Migration:
    base: str
    settings: dict[str, Any] = field(default_factory=dict)
    """By dotted key: where the recipe differs from its base."""
    notes: list[Note] = field(default_factory=list)
    renamed: set[str] = field(default_factory=set)
    """New names of keys that the script has under old ones."""

    def recipe(self) -> str:
        """As YAML."""
        nested = OmegaConf.create({})
        for key, value in self.settings.items():
            OmegaConf.update(nested, key, value)
        body = {"defaults": [self.base, "_self_"], **OmegaConf.to_container(nested)}
        return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


def migrate(text: str, base: str = "longvt_7b_rl") -> Migration:
    """Translate the text of a launch script.

    Raises:
        ConfigError: no single call of ``main_ppo``, or no such base.
    """
    script, recipe, defaults = read_script(text), composed(base), compose_recipe("ppo_trainer")
    result = Migration(base)
    given = dict(_parsed(override, result) for override in script.overrides)
    given.pop(None, None)
    for option in script.options:
        why = "settings of a configuration file that the script names are not seen: pass them as overrides"
        result.notes.append(Note("missing", option, why))
    for key, value in given.items():
        _translate(key, value, result, recipe, defaults)
    if any(key.startswith("custom_reward_function.") for key in given):
        _reward(given, result, recipe)
    _lengths(result, recipe)
    for key in OBJECTIVE:
        if key not in given:
            _set(key, OmegaConf.select(defaults, key), result, recipe)
    if "trainer.default_local_dir" not in given:
        # verl's own default, so that runs do not resume from those of the base.
        result.settings["longvt.run"] = "checkpoints/${trainer.project_name}/${trainer.experiment_name}"
    _missing(given, result, recipe, defaults)
    return result


def _parsed(override: str, result: Migration) -> tuple[str | None, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        return parsed.key_or_group, plain(parsed.value())
    except HydraException:
        result.notes.append(Note("unknown", override, "is not an override that Hydra can read"))
        return None, None


def _translate(key: str, value: Any, result: Migration, recipe: DictConfig, defaults: DictConfig) -> None:
    moved, dead = entry(MOVED, key), entry(DEAD, key)
    if key in REPLACED:
        kept = OmegaConf.select(recipe, key)
        result.notes.append(Note("changed", f"{key}={value}", REPLACED[key] + (f" ({kept})" if kept else "")))
    elif key.rpartition(".")[2] in REWARD_OPTIONS:
        return
    elif moved is not None:
        target, why = moved
        if target is None or key.endswith(NEW_VALUE):
            result.notes.append(Note("changed" if target else "dead", key, f"{why}. {use_instead(target)}"))
            return
        target += key.removeprefix(_entry_key(key))
        result.notes.append(Note("changed", key, f"{why}: now {target}"))
        _set(target, value, result, recipe)
        result.renamed.add(target)
    elif dead is not None:
        result.notes.append(Note("dead", f"{key}={value}", f"{dead[1]}. {use_instead(dead[0])}"))
    elif _known(key, recipe, defaults):
        _set(key, value, result, recipe)
    else:
        result.notes.append(Note("unknown", key, f"verl does not know this key. {suggestion(key, defaults)}"))


def _entry_key(key: str) -> str:
    while key not in MOVED:
        key = key.rpartition(".")[0]
    return key


def _known(key: str, recipe: DictConfig, defaults: DictConfig) -> bool:
    inside = any(key == known or key.startswith(f"{known}.") for known in ADDITIONS)
    return inside or any(key in dict(leaves(config)) for config in (recipe, defaults))


def _set(key: str, value: Any, result: Migration, recipe: DictConfig) -> None:
    current = plain(OmegaConf.select(recipe, key))
    if isinstance(value, str) and value.startswith("${oc.env:") and isinstance(current, int | float):
        value = f"${{oc.decode:{value}}}"
    if value != current:
        result.settings[key] = value


def _reward(given: dict[str, Any], result: Migration, recipe: DictConfig) -> None:
    """LongVT's switches as the weights and rules they mean."""
    options = {key.rpartition(".")[2]: bool(value) for key, value in given.items()}
    chosen = {name: on for name, on in options.items() if name in REWARD_OPTIONS}
    for name, value in from_original(chosen).items():
        _set(f"{KWARGS}.{name}", value, result, recipe)
    said = ", ".join(f"{name}={on}" for name, on in chosen.items()) or "none of its switches"
    result.notes.append(Note("changed", "custom_reward_function", f"{said}: written as weights under {KWARGS}"))


def _lengths(result: Migration, recipe: DictConfig) -> None:
    prompt, response = (
        result.settings.get(key, OmegaConf.select(recipe, key))
        for key in ("data.max_prompt_length", "data.max_response_length")
    )
    if isinstance(prompt, int) and isinstance(response, int):
        key = "actor_rollout_ref.rollout.max_model_len"
        if key not in result.settings:
            _set(key, prompt + response, result, recipe)


def _missing(given: dict[str, Any], result: Migration, recipe: DictConfig, defaults: DictConfig) -> None:
    """What the base recipe adds to verl's defaults where the script says nothing."""
    verl = dict(leaves(defaults))
    for key, value in leaves(recipe):
        covered = key in given or key in REPLACED or key in result.settings or key in result.renamed
        if covered or key.startswith(("longvt.", KWARGS)) or value == verl.get(key, ...):
            continue
        why = f"the script does not set it: {value} from {result.base}"
        result.notes.append(Note("missing", key, why))
    for key in ("longvt.media", "longvt.judge"):
        if OmegaConf.select(recipe, key) is None:
            raise ConfigError(result.base, "is no recipe of the 7B family", "Use longvt_7b_rl or one that inherits it.")
        why = f"nothing in such a script names it: {OmegaConf.select(recipe, key)} from {result.base}"
        result.notes.append(Note("missing", key, why))
