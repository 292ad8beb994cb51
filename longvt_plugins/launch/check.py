"""All that can be said about a recipe before it runs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from omegaconf import DictConfig

from . import checks
from .compose import compose_leniently, compose_recipe
from .finding import Finding
from .keys import dead_keys, unknown_keys
from .memory import check_memory, estimate, model_of
from .rows import count_rows
from .sft import check_sft, is_sft

BROKEN_OPTIONS = {"loop-option", "tool-option", "dataset-option", "media-profile"}
"""With one of these there are no numbers to compute a token budget from."""
CARD_GIB = 80.0


@dataclass(frozen=True)
class Examination:
    findings: list[Finding] = field(default_factory=list)
    """In the order in which they would be met."""
    notes: list[str] = field(default_factory=list)
    """What was counted and estimated, and what could not be."""


def examine(name: str, overrides: Sequence[str] = (), files: bool = True, card_gib: float = CARD_GIB) -> Examination:
    """What is wrong with a recipe, of RL or SFT.

    Args:
        files: look at data, checkpoint and media; without, at what the package itself needs only.
        card_gib: memory of a GPU.

    Raises:
        ConfigError: there is no such recipe, or it does not compose even without overrides.
    """
    if is_sft(name):
        return Examination(check_sft(name, overrides, files))
    base = _verl_defaults()
    recipe, found = compose_leniently(name, overrides, base)
    if (engine := recipe.get("model_engine")) not in (None, "dp"):
        base = _verl_defaults(engine)
    found += [*unknown_keys(recipe, base), *dead_keys(recipe, base)]
    broken = checks.unresolved(recipe)
    if broken:
        return Examination(found + broken)
    notes: list[str] = []
    missing = list(checks.data_files(recipe)) if files else []
    found += [*checks.code_files(recipe), *missing, *checks.engine(recipe), *checks.trainer(recipe)]
    found += checks.batch(recipe)
    refused = list(checks.options(recipe))
    found += refused
    if not any(finding.name in BROKEN_OPTIONS for finding in refused):
        found += checks.budget(recipe)
        if files and not any(finding.what.startswith("data.longvt.video_root=") for finding in missing):
            found += count_rows(recipe, notes)
    if recipe.trainer.device != "cpu":
        found += _memory(recipe, card_gib, notes)
    return Examination(found, notes)


def _memory(recipe: DictConfig, card_gib: float, notes: list[str]) -> list[Finding]:
    model = model_of(recipe)
    if model is None:
        notes.append("memory: not estimated, since the model's sizes are not known here")
        return []
    memory = estimate(recipe, model, card_gib)
    notes.append(f"memory of each GPU of {card_gib:.0f} GiB: {memory}")
    return list(check_memory(memory, card_gib))


@functools.cache
def _verl_defaults(engine: str = "dp") -> DictConfig:
    return compose_recipe("ppo_trainer", [f"model_engine={engine}"])
