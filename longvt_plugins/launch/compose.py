"""Compose a recipe as ``main_ppo`` or lmms-engine's launcher would, without importing either."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from longvt_plugins.errors import ConfigError

from .finding import Finding
from .keys import refused_override

RECIPES = Path(__file__).parents[1] / "recipes"


def compose_recipe(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that ``python -m verl.trainer.main_ppo --config-name NAME OVERRIDES`` runs with.

    Args:
        name: of a recipe, or the path of one (``.yaml``), as with ``--config-dir`` beside ``--config-name``.
    """
    import longvt_plugins.registry  # noqa: F401  (the resolvers that recipes use)

    return _compose(name, overrides, "verl", "trainer", "config")


def compose_sft(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The config that ``torchrun -m lmms_engine.launch.cli --config-name NAME OVERRIDES`` runs with."""
    return _compose(name, overrides, "lmms_engine", "launch", "config")


def composed(
    name: str, overrides: Sequence[str] = (), compose: Callable[..., DictConfig] = compose_recipe
) -> DictConfig:
    """As ``compose`` gives it.

    Raises:
        ConfigError: there is no such recipe, or it does not compose.
    """
    try:
        return compose(name, overrides)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # of Hydra and OmegaConf, of many kinds
        raise _does_not_compose(name, error) from error


def files_of(recipe: DictConfig, split: str) -> list[str]:
    """``data.{split}_files``, which may be one path or several."""
    files = recipe.data.get(f"{split}_files") or ()
    return [files] if isinstance(files, str) else [str(file) for file in files]


def _compose(name: str, overrides: Sequence[str], package: str, *below: str) -> DictConfig:
    from hydra import compose, initialize_config_dir

    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    upstream = Path(spec.submodule_search_locations[0], *below)
    folder, overrides = upstream, list(overrides)
    if name.endswith(".yaml"):
        folder, name = Path(name).resolve().parent, Path(name).stem
        overrides.append(f"hydra.searchpath=['file://{upstream}']")
    with initialize_config_dir(str(folder), version_base=None):
        return compose(name, overrides=overrides)


def compose_leniently(
    name: str,
    overrides: Sequence[str],
    base: DictConfig,
    compose: Callable[..., DictConfig] = compose_recipe,
    refused: Callable[[str, str, DictConfig], Finding] = refused_override,
) -> tuple[DictConfig, list[Finding]]:
    """The recipe with the overrides that Hydra accepts, and what is wrong with the others.

    Args:
        base: what upstream composes without a recipe.
        compose: ``(name, overrides) -> recipe``.
        refused: ``(override, key, base)``: what is wrong with an override of a key that the recipe lacks.

    Raises:
        ConfigError: there is no such recipe, or it does not compose even without overrides.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException, OverrideParseException

    try:
        return compose(name, overrides), []
    except Exception:
        # Raised once more: without overrides it is the recipe's own fault.
        composed(name, compose=compose)
    accepted: list[str] = []
    findings = []
    for override in overrides:
        try:
            compose(name, [*accepted, override])
            accepted.append(override)
        except OverrideParseException as error:
            findings.append(_refused(override, str(error).splitlines()[0]))
        except HydraException as error:
            parsed = OverridesParser.create().parse_override(override)
            if str(error).startswith("Could not override"):
                findings.append(refused(override, parsed.key_or_group, base))
            else:
                findings.append(_refused(override, " ".join(str(error).split())))
    return compose(name, accepted), findings


def _refused(override: str, why: str) -> Finding:
    return Finding("bad-override", override, f"Hydra refuses it ({why})", "Correct it.")


def _does_not_compose(name: str, error: Exception) -> ConfigError:
    names = sorted(path.stem for stage in ("rl", "sft") for path in (RECIPES / stage).glob("*.yaml"))
    nearest = difflib.get_close_matches(name, names, 1)
    remedy = f"Did you mean {nearest[0]}?" if nearest else f"Shipped are {', '.join(names)}."
    if name in names:
        remedy = "Correct the overrides."
    return ConfigError(f"recipe {name}", f"does not compose ({str(error).splitlines()[0]})", remedy)
