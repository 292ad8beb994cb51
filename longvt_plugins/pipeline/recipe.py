"""The recipe that a command trains with, composed: what the stage's result depends on beside files and versions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from longvt_plugins.errors import ConfigError

VERL, LMMS = "verl.trainer.main_ppo", "lmms_engine.launch.cli"
ENVIRONMENT = "${oc.env:"
_OWN = re.compile(r"\$\{oc\.env:\w*(USER|LOGNAME|HOST|KEY|TOKEN|SECRET|PASSWORD)")
"""Who runs it, where, and with which secrets: no result depends on it, and a secret belongs in no stamp."""


@dataclass(frozen=True)
class Recipe:
    """Flat, by dotted key. A value is as written, references and all, but for settings that the environment makes."""

    settings: dict[str, Any] = field(default_factory=dict)
    """What a result depends on."""
    places: dict[str, Any] = field(default_factory=dict)
    """Paths and URLs out of the environment, which differ from machine to machine and job to job. As settings they
    stand as written: what lies or answers there is not known by its place."""


def recipe_of(command: Sequence[str]) -> Recipe:
    """Composed; empty where ``command`` runs neither trainer by a recipe's name.

    Raises:
        ConfigError: it does not compose, or wants a variable that is not set.
    """
    trainer = next((name for name in (VERL, LMMS) if name in command), None)
    words = list(command[command.index(trainer) + 1 :]) if trainer else []
    if "--config-name" not in words[:-1]:
        return Recipe()
    from omegaconf.errors import OmegaConfBaseException

    from longvt_plugins.launch.compose import compose_recipe, compose_sft, composed

    at = words.index("--config-name")
    name, overrides = words[at + 1], [*words[:at], *words[at + 2 :]]
    if trainer == LMMS:
        overrides = [override for override in overrides if not override.startswith("hydra.")]
    config = composed(name, overrides, compose_recipe if trainer == VERL else compose_sft)
    try:
        return _read(config)
    except OmegaConfBaseException as error:
        rule = f"cannot be computed ({str(error).splitlines()[0]})"
        raise ConfigError(f"recipe {name}", rule, "Set the variable, or what stands for it.") from error


def _read(config: Any) -> Recipe:
    from omegaconf import OmegaConf

    recipe = Recipe()
    for key, node, name, written in _flat(config, OmegaConf.to_container(config, resolve=False)):
        recipe.settings[key] = written
        if ENVIRONMENT not in str(written) or _OWN.search(str(written)):
            continue
        value = node[name]
        value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        (recipe.places if "/" in str(value) else recipe.settings)[key] = value
    return recipe


def _flat(node: Any, written: dict, prefix: str = "") -> Iterator[tuple[str, Any, Any, Any]]:
    """``(dotted key, the node that holds it, its name there, its value as written)``."""
    for name, value in written.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict):
            yield from _flat(node[name], value, key)
        else:
            yield key, node, name, value
