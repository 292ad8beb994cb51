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
from dataclasses import dataclass
from importlib.machinery import PathFinder

import wrapt

from longvt_plugins import cpu
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


def locate(module: str) -> None:
    """Raise PluginError unless ``module`` can be found; imports neither it nor its parent packages."""
    names = module.split(".")
    spec = importlib.util.find_spec(names[0])
    for depth in range(2, len(names) + 1):
        spec = PathFinder.find_spec(".".join(names[:depth]), spec.submodule_search_locations)
        if spec is None:
            raise PluginError(module, f"{'.'.join(names[:depth])} cannot be found", REMEDY)


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
        raise PluginError(name, "is not a file of longvt_plugins", "Correct the ${longvt...:...} in the recipe.")
    return path


def packaged_text(name: str) -> str:
    """Content of a file of this package; the resolver ``${longvt.text:tokens/templates/qwen2_5_vl.jinja}``."""
    with open(packaged_path(name), encoding="utf-8") as file:
        return file.read()


def hardware() -> str:
    """``cpu`` or ``cuda``; the resolver ``${longvt.hardware:}`` with which recipes choose a config group."""
    return "cpu" if cpu.chosen() else "cuda"


def add_resolvers(omegaconf) -> None:
    """Register ``longvt.path``, ``longvt.text`` and ``longvt.hardware`` with OmegaConf."""
    resolvers = {"longvt.path": packaged_path, "longvt.text": packaged_text, "longvt.hardware": hardware}
    for name, function in resolvers.items():
        omegaconf.OmegaConf.register_new_resolver(name, function, replace=True)


def register() -> None:
    """Do the three things of the module docstring.

    Raises:
        PluginError: after all parts were looked for, if one is missing.
    """
    missing = None
    for part in PARTS:
        try:
            locate(part.module)
        except PluginError as error:
            report(f"{part.what} is missing")
            missing = error
            continue
        if part.after:
            wrapt.register_post_import_hook(lambda _, module=part.module: load(module), part.after)
    for entry in LEDGER:
        if entry.after and entry.after.startswith(("verl.", "vllm.")) and (cpu.chosen() or not entry.cpu_only):
            wrapt.register_post_import_hook(lambda target, entry=entry: load(entry.module).apply(target), entry.after)
    wrapt.register_post_import_hook(add_resolvers, "omegaconf")
    if cpu.chosen():
        load("longvt_plugins.cpu.platform").activate()
    if missing:
        raise missing


try:
    register()
except PluginError:
    raise
except Exception:
    report("registration failed")
    raise
