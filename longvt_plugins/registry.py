"""Entry point of the group ``verl.plugins``: makes our names known to verl, lazily and loudly.

verl imports this module in every process at the end of ``import verl`` and hides whatever it raises
(``verl/__init__.py:70``, DEBUG). So it does three cheap things and reports on stderr by itself:

1. every part below is located (``find_spec``); a missing one prints its traceback and the remedy;
2. a post-import hook per part loads it once verl's own module is there, so registering costs nothing
   where it is not used; a part that fails then stops the import, and with it the process;
3. work-arounds of upstream that are on (``longvt_plugins.upstream``) hook in the same way.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import wrapt

from longvt_plugins.errors import PluginError
from longvt_plugins.upstream.ledger import LEDGER

REMEDY = "Reinstall longvt-plugins and run 'longvt doctor'."


@dataclass(frozen=True)
class Part:
    """Something verl refers to by name."""

    what: str
    module: str
    after: str | None = None
    """verl module whose import makes it time to load the part; ``None``: verl loads it by name itself."""


PARTS = (
    Part("agent loop 'longvt_agent'", "longvt_plugins.loops.verl_loop", after="verl.experimental.agent_loop"),
    Part("trainer mode 'longvt_sync'", "longvt_plugins.trainer.longvt_sync", after="verl.trainer.ppo.v1"),
    Part("tool 'crop_video'", "longvt_plugins.tools.verl_tool"),
    Part("reward function 'compute_score'", "longvt_plugins.reward.compute"),
    Part("dataset 'LongVTDataset'", "longvt_plugins.datasets.verl_rl"),
)


def cpu_chosen() -> bool:
    """True when the user runs without a GPU on purpose (``VERL_PLATFORM=cpu``)."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"


def locate(module: str) -> None:
    """Raise PluginError unless ``module`` can be found, without importing it."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError as error:
        raise PluginError(module, f"its package cannot be found ({error})", REMEDY) from error
    if found is None:
        raise PluginError(module, "cannot be found", REMEDY)


def load(module: str) -> object:
    """Import ``module``; on failure say so on stderr (Ray may bury it) and stop the importing process."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        report(f"{module} failed to load")
        raise PluginError(module, f"failed to load ({type(error).__name__}: {error})", REMEDY) from error


def report(what: str) -> None:
    print(f"longvt-plugins: {what}. {REMEDY}", file=sys.stderr)
    traceback.print_exc(file=sys.stderr)
    sys.stderr.flush()


def packaged_path(name: str) -> str:
    """Absolute path of a file of this package; the resolver ``${longvt.path:tools/crop_video.yaml}``."""
    path = os.path.join(os.path.dirname(__file__), *name.split("/"))
    if not os.path.isfile(path):
        raise PluginError(name, "is not a file of longvt_plugins", "Correct the ${longvt.path:...} in the recipe.")
    return path


def hardware() -> str:
    """``cpu`` or ``cuda``; the resolver ``${longvt.hardware:}`` with which recipes choose a config group."""
    return "cpu" if cpu_chosen() else "cuda"


def _add_resolvers(omegaconf) -> None:
    omegaconf.OmegaConf.register_new_resolver("longvt.path", packaged_path, replace=True)
    omegaconf.OmegaConf.register_new_resolver("longvt.hardware", hardware, replace=True)


def _once_imported(module: str, action: Callable[[object], object]) -> None:
    wrapt.register_post_import_hook(action, module)


def register() -> None:
    """Do the three things of the module docstring."""
    for part in PARTS:
        try:
            locate(part.module)
        except PluginError:
            report(f"{part.what} is missing")
            raise
        if part.after:
            _once_imported(part.after, lambda _, module=part.module: load(module))
    for entry in LEDGER:
        if entry.after and (cpu_chosen() or not entry.cpu_only):
            _once_imported(entry.after, lambda target, entry=entry: load(entry.module).apply(target))
    _once_imported("omegaconf", _add_resolvers)
    if cpu_chosen():
        load("longvt_plugins.cpu.platform").activate()


try:
    register()
except PluginError:
    raise
except Exception:
    report("registration failed")
    raise
