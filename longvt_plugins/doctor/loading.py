"""Called in processes of their own (``child``): does the plugin load where a run needs it?"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile

from longvt_plugins.errors import PluginError

REMEDY = "Reinstall longvt-plugins; its own message is above this one in the log"


def in_verl() -> list[str]:
    """Every registered part, loaded by ``import verl`` as a trainer or a rollout worker does. Returns their names."""
    import verl.experimental.agent_loop
    import verl.trainer.ppo.v1  # noqa: F401

    if "longvt_plugins.registry" not in sys.modules:
        # verl has hidden what it raised; here it is raised again.
        importlib.import_module("longvt_plugins.registry")
        raise PluginError("import verl", "did not load the entry point 'longvt' of group verl.plugins", REMEDY)
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.trainer.ppo.v1 import get_trainer_cls

    from longvt_plugins.registry import PARTS

    for part in PARTS:
        importlib.import_module(part.module)
    if "longvt_agent" not in _agent_loop_registry:
        raise PluginError("longvt_agent", f"is not among the agent loops {sorted(_agent_loop_registry)}", REMEDY)
    get_trainer_cls("longvt_sync")
    return [part.what for part in PARTS]


def recipe_by_name() -> str:
    """Hydra finds our recipes through its plugin scan alone."""
    from longvt_plugins.launch.compose import compose_recipe

    return f"{compose_recipe('longvt_demo').trainer.experiment_name} composes"


def in_ray_actor() -> str:
    """``in_verl`` in an actor of a Ray of its own, gone afterwards. Returns Ray's version."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray

    with tempfile.TemporaryDirectory(prefix="longvt-", ignore_cleanup_errors=True) as folder:
        ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        try:

            class Actor:
                def look(self) -> list[str]:
                    return in_verl()

            ray.get(ray.remote(num_cpus=1)(Actor).remote().look.remote())
        finally:
            ray.shutdown()
    return ray.__version__


def in_vllm() -> list[str]:
    """The general plugins, loaded as vLLM's engine core loads them. Returns what they and ``import verl`` changed."""
    from vllm.plugins import DEFAULT_PLUGINS_GROUP, load_general_plugins, load_plugins_by_group

    if "longvt" not in load_plugins_by_group(DEFAULT_PLUGINS_GROUP):
        raise PluginError("vllm", f"did not load the entry point 'longvt' of group {DEFAULT_PLUGINS_GROUP}", REMEDY)
    load_general_plugins()
    # verl's worker extension is loaded next, and brings the hooks of upstream/ with it.
    import verl  # noqa: F401
    import vllm.model_executor.models.qwen2_5_vl as family

    from longvt_plugins import cpu

    if not family.Qwen2_5_VLProcessingInfo.get_data_parser.__module__.startswith("longvt_plugins."):
        raise PluginError("vllm", "reads videos without their frames' times", REMEDY)
    if not cpu.chosen():
        return ["times of video frames"]
    import vllm._custom_ops as ops

    if ops._supports_onednn:
        raise PluginError("vllm", "packs weights, so that they cannot be synchronised", REMEDY)
    return ["times of video frames", "weights that can be synchronised"]
