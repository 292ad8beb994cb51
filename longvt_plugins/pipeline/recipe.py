"""The recipe that a command trains with, composed: what the stage's result depends on beside files and versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from longvt_plugins.errors import ConfigError

VERL, LMMS = "verl.trainer.main_ppo", "lmms_engine.launch.cli"


def recipe_of(command: Sequence[str]) -> dict[str, Any]:
    """Composed and flat, by dotted key; empty where ``command`` runs neither trainer by a recipe's name.

    Raises:
        ConfigError: it does not compose.
    """
    trainer = next((name for name in (VERL, LMMS) if name in command), None)
    words = list(command[command.index(trainer) + 1 :]) if trainer else []
    if "--config-name" not in words[:-1]:
        return {}
    from omegaconf import OmegaConf

    from longvt_plugins.launch.compose import compose_recipe, compose_sft

    at = words.index("--config-name")
    name, overrides = words[at + 1], [*words[:at], *words[at + 2 :]]
    try:
        if trainer == VERL:
            config = compose_recipe(name, overrides)
        else:
            config = compose_sft(name, [override for override in overrides if not override.startswith("hydra.")])
    except Exception as error:  # of Hydra and OmegaConf, of many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"recipe {name}", f"does not compose ({reason})", "Correct name or overrides.") from error
    # Unresolved: what an override or the environment changes is seen where it stands.
    return dict(_flat(OmegaConf.to_container(config, resolve=False)))


def _flat(value: Any, prefix: str = ""):
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
