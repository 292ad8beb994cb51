"""A CPU platform for verl, through its own registry (``verl.plugin.platform``).

``activate`` also sets the environment that the processes of a CPU run need; Ray workers and vLLM's
children inherit it from the driver. What is already set is left alone.
"""

from __future__ import annotations

import os
import types
from contextlib import contextmanager

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry

ENVIRONMENT = {
    # verl registers its FSDP engine for cuda and npu only; this is verl's own override.
    "VERL_ENGINE_DEVICE": "cuda",
    # vLLM's CPU engine start-up falls from about 70 s to 2 s; nothing here is compiled.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Ray 2.60 would otherwise write a token into the user's home.
    "RAY_AUTH_MODE": "disabled",
}


def activate() -> None:
    """Set what is not set in ``ENVIRONMENT``. Importing this module has registered the platform."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class _CpuDevice(types.ModuleType):
    """``torch.cpu`` with the calls that verl makes on ``torch.cuda``."""

    def __getattr__(self, name):
        return getattr(torch.cpu, name)

    def is_available(self):
        return True

    def device_count(self):
        return 1

    def current_device(self):
        return "cpu"

    def set_device(self, device):
        pass

    def synchronize(self, device=None):
        pass

    def empty_cache(self):
        pass

    def ipc_collect(self):
        pass

    def reset_peak_memory_stats(self, device=None):
        pass

    def memory_allocated(self, device=None):
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    memory_reserved = max_memory_allocated = max_memory_reserved = memory_allocated

    def mem_get_info(self, device=None):
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_rng_state(self, device=None):
        return torch.get_rng_state()

    def set_rng_state(self, state, device=None):
        torch.set_rng_state(state)

    def get_device_name(self, device=None):
        return "cpu"

    def get_device_capability(self, device=None):
        return (0, 0)


_DEVICE = _CpuDevice("longvt_cpu_device")


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """Chosen by ``VERL_PLATFORM=cpu`` only, never detected."""

    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: _DEVICE)

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return False

    def current_device(self):
        # verl hands this to Tensor.to, where an integer would mean CUDA.
        return "cpu"

    def device_count(self):
        return 1

    def set_device(self, device_index):
        pass

    def synchronize(self, device_index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, device_index=0):
        return (None, None)

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg):
        yield

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def ray_resource_name(self):
        # A logical Ray GPU, given by ray_init.num_gpus in the recipe: verl's placement groups ask for one.
        return "GPU"

    def ray_resource_options(self, num_gpus):
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self):
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self):
        # Weight sync then goes through shared memory.
        return False

    def cudart(self):
        return None
