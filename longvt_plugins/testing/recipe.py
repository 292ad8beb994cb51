"""Compose a shipped recipe as ``main_ppo`` would, without importing verl."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig


def compose_recipe(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that ``python -m verl.trainer.main_ppo --config-name NAME OVERRIDES`` runs with."""
    from hydra import compose, initialize_config_dir

    import longvt_plugins.registry  # noqa: F401  (the resolvers that recipes use)

    verl = importlib.util.find_spec("verl").submodule_search_locations[0]
    with initialize_config_dir(str(Path(verl, "trainer", "config")), version_base=None):
        return compose(name, overrides=list(overrides))
