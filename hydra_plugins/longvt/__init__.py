"""Hydra's plugin scan finds this namespace package: recipes of longvt_plugins resolve by name."""

import os
import sys
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

import longvt_plugins

RECIPES = Path(longvt_plugins.__file__).parent / "recipes"
LMMS_ENGINE = "lmms_engine.launch.cli"


def runs_lmms_engine() -> bool:
    """Whether lmms-engine's launcher is the program that runs."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == LMMS_ENGINE


class LongVTSearchPath(SearchPathPlugin):
    """Appends the recipe folders to Hydra's search path.

    lmms-engine has no entry point for plugins, so this is also where our names become known to it. For verl it is
    the one place that notices when our entry point was never loaded: verl itself is silent.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for stage in ("rl", "sft"):
            search_path.append(provider="longvt", path=f"file://{RECIPES / stage}")
        if runs_lmms_engine():
            from longvt_plugins.datasets.lmms.register import register

            register()
            return
        policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()
        if "verl" in sys.modules and "longvt_plugins.registry" not in sys.modules and policy == "auto":
            print(
                "longvt-plugins: verl did not load the entry point 'longvt' of group 'verl.plugins'. "
                "Reinstall longvt-plugins and run 'longvt doctor'.",
                file=sys.stderr,
            )
