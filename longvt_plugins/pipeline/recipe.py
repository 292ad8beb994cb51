"""The recipe that a command trains with, composed: what the stage's result depends on beside files and versions."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
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
    at = words.index("--config-name")
    name, overrides = words[at + 1], [*words[:at], *words[at + 2 :]]
    try:
        config = _verl(name, overrides) if trainer == VERL else _lmms(name, overrides)
    except Exception as error:  # of Hydra and OmegaConf, of many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"recipe {name}", f"does not compose ({reason})", "Correct name or overrides.") from error
    return dict(_flat(config))


def _verl(name: str, overrides: list[str]) -> Any:
    from omegaconf import OmegaConf

    from longvt_plugins.launch.compose import compose_recipe

    # Unresolved: what an override or the environment changes is seen where it stands.
    return OmegaConf.to_container(compose_recipe(name, overrides), resolve=False)


def _lmms(name: str, overrides: list[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    engine = Path(importlib.util.find_spec("lmms_engine").submodule_search_locations[0])
    with initialize_config_dir(str(engine / "launch" / "config"), version_base=None):
        kept = [override for override in overrides if not override.startswith("hydra.")]
        return OmegaConf.to_container(compose(name, overrides=kept), resolve=False)


def _flat(value: Any, prefix: str = ""):
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
