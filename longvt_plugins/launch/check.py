"""All that can be said about a recipe before it runs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from omegaconf import DictConfig

from . import checks
from .compose import compose_leniently, compose_recipe
from .finding import Finding
from .keys import dead_keys, unknown_keys

BROKEN_OPTIONS = {"loop-option", "tool-option", "dataset-option", "media-profile"}
"""With one of these there are no numbers to compute a token budget from."""


def check_recipe(name: str, overrides: Sequence[str] = (), files: bool = True) -> list[Finding]:
    """What is wrong with a recipe, in the order in which it would be met; empty: nothing was found.

    Args:
        files: look for data, checkpoint and media; without, for what the package itself needs only.

    Raises:
        ConfigError: there is no such recipe, or it does not compose even without overrides.
    """
    base = _verl_defaults()
    recipe, found = compose_leniently(name, overrides, base)
    if (engine := recipe.get("model_engine")) not in (None, "dp"):
        base = _verl_defaults(engine)
    found += [*unknown_keys(recipe, base), *dead_keys(recipe, base)]
    broken = checks.unresolved(recipe)
    if broken:
        return found + broken
    found += [*checks.code_files(recipe), *(checks.data_files(recipe) if files else ())]
    found += [*checks.trainer(recipe), *checks.batch(recipe)]
    refused = list(checks.options(recipe))
    if not any(finding.name in BROKEN_OPTIONS for finding in refused):
        found += checks.budget(recipe)
    return found + refused


@functools.cache
def _verl_defaults(engine: str = "dp") -> DictConfig:
    return compose_recipe("ppo_trainer", [f"model_engine={engine}"])
