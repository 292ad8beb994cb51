"""Hydra's plugin scan finds this namespace package: recipes of longvt_plugins resolve by name."""

import os
import sys
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

import longvt_plugins

RECIPES = Path(longvt_plugins.__file__).parent / "recipes"


class LongVTSearchPath(SearchPathPlugin):
    """Appends the recipe folders of verl to the search path of ``verl.trainer.main_ppo``.

    It is also the one place that notices when verl never loaded our entry point: verl itself is silent.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="longvt", path=f"file://{RECIPES / 'rl'}")
        policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()
        if "verl" in sys.modules and "longvt_plugins.registry" not in sys.modules and policy == "auto":
            print(
                "longvt-plugins: verl did not load the entry point 'longvt' of group 'verl.plugins'. "
                "Reinstall longvt-plugins and run 'longvt doctor'.",
                file=sys.stderr,
            )
