"""Is the plugin there for verl, Hydra, Ray and vLLM?"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator

from longvt_plugins import __version__, cpu
from longvt_plugins.errors import CheckError
from longvt_plugins.launch.finding import Finding

from . import child

LIMIT_S = 300.0
ENTRY_POINTS = {
    "verl.plugins": "verl does not know longvt_agent and longvt_sync",
    "vllm.general_plugins": "the first weight sync of vLLM on a CPU waits for ever",
}


def entry_points() -> Iterator[Finding | str]:
    lost = [group for group in ENTRY_POINTS if "longvt" not in importlib.metadata.entry_points(group=group).names]
    if lost:
        why = f"is missing: {'; '.join(ENTRY_POINTS[group] for group in lost)}"
        yield Finding("entry-point", f"longvt in {' and '.join(lost)}", why, "Reinstall longvt-plugins")
    named = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip()
    if named.lower() != "auto" and "longvt" not in [name.strip() for name in named.split(",")]:
        what = f"VERL_USE_EXTERNAL_PLUGINS={named}"
        yield Finding("entry-point", what, "keeps verl from loading longvt", "Unset it, or add longvt to it")
    named = os.environ.get("VLLM_PLUGINS")
    if cpu.chosen() and named is not None and "longvt" not in named.split(","):
        why = f"keeps vLLM from loading longvt: {ENTRY_POINTS['vllm.general_plugins']}"
        yield Finding("entry-point", f"VLLM_PLUGINS={named}", why, "Unset it, or add longvt to it")
    yield f"longvt-plugins {__version__}"


def in_verl() -> Iterator[Finding | str]:
    yield from _loads("plugin", "in_verl", "verl")


def in_ray_actor() -> Iterator[Finding | str]:
    yield from _loads("ray-actor", "in_ray_actor", "a Ray actor")


def in_vllm() -> Iterator[Finding | str]:
    yield from _loads("vllm-process", "in_vllm", "a vLLM process")


def _loads(name: str, function: str, where: str) -> Iterator[Finding | str]:
    remedy = "Reinstall longvt-plugins, and the tested versions: bash constraints/install.sh"
    try:
        found = child.look("longvt_plugins.doctor.loading", function, limit_s=LIMIT_S, remedy=remedy)
    except CheckError as error:
        yield Finding(name, f"the plugin in {where}", f"does not load: {error.rule}", error.remedy)
    else:
        yield ", ".join(found) if isinstance(found, list) else f"Ray {found}"


def recipes() -> Iterator[Finding | str]:
    remedy = "Reinstall longvt-plugins. A package with a hydra_plugins/__init__.py of its own hides all others"
    try:
        yield child.look("longvt_plugins.doctor.loading", "recipe_by_name", limit_s=LIMIT_S, remedy=remedy)
    except CheckError as error:
        yield Finding("recipes", "longvt_demo", f"does not compose by name: {error.rule}", error.remedy)
