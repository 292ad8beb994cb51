"""What `longvt doctor` says about the GPU: driver, CUDA, kernels, memory.

The GPU is looked at from a process of its own, so that the doctor keeps no CUDA context, and a driver that hangs or
crashes costs that process. ``read`` returns what was found; ``problems`` judges it and needs no GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

NEEDS_BYTES = 8 << 30
"""The demo: a tenth of it is the model; vLLM's cache and CUDA contexts take the rest."""
LEAST_CAPABILITY = 75
"""vLLM 0.24 ships kernels from compute capability 7.5 on."""
LOOK_S = 180
STAMP = ".longvt-offline"
"""Manifest that constraints/offline/assemble.py leaves in an environment."""


class Gpu(BaseModel):
    """A reading. ``None``: could not be read."""

    driver: str | None = None
    """Name and driver of the first GPU, by ``nvidia-smi``."""
    driver_cuda: tuple[int, int] | None = None
    """Newest CUDA that the driver runs."""
    torch: str | None = None
    torch_cuda: str | None = None
    """CUDA that torch was built for. ``None``: a CPU build."""
    capability: int | None = None
    """90: compute capability 9.0. ``None``: torch cannot use a GPU."""
    free_bytes: int = 0
    total_bytes: int = 0
    kernel_fault: str | None = None
    """What a small product, and a kernel of vLLM, failed with."""
    kept_kernels: int | None = None
    """The one capability that an offline bundle kept kernels for."""


LOOK = """
import ctypes, json, sys
found = {}
try:
    version = ctypes.c_int()
    if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)) == 0:
        found["driver_cuda"] = (version.value // 1000, version.value % 1000 // 10)
except OSError:
    pass
import torch
found |= {"torch": torch.__version__, "torch_cuda": torch.version.cuda}
if torch.cuda.is_available():
    major, minor = torch.cuda.get_device_capability()
    found["capability"] = 10 * major + minor
    try:
        found["free_bytes"], found["total_bytes"] = torch.cuda.mem_get_info()
        square = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16)
        assert (square @ square).float().mean().item() == 64, "a product of ones is wrong"
        import vllm._custom_ops
        half = torch.empty(64, 32, device="cuda", dtype=torch.bfloat16)
        torch.ops._C.silu_and_mul(half, square)
        assert abs(half.float().mean().item() - 0.731) < 0.01, "silu_and_mul of vLLM is wrong"
        torch.cuda.synchronize()
    except Exception as error:
        found["kernel_fault"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
print(json.dumps(found))
"""


def read() -> Gpu:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    driver = None
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
        driver = done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None
    except (FileNotFoundError, subprocess.TimeoutExpired):
        pass
    try:
        done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, timeout=LOOK_S)
    except subprocess.TimeoutExpired:
        return Gpu(driver=driver, kernel_fault=f"no answer within {LOOK_S} s")
    if done.returncode:
        return Gpu(driver=driver, kernel_fault=(done.stderr.strip().splitlines() or ["it crashed"])[-1][:300])
    stamp = Path(sys.prefix, STAMP)
    kept = json.loads(stamp.read_text())["sm"] if stamp.exists() else None
    return Gpu(driver=driver, kept_kernels=kept, **json.loads(done.stdout.strip().splitlines()[-1]))


def problem(gpu: Gpu, required: bool) -> str | None:
    """What is wrong with it, and what to do. ``required``: having none is wrong, too."""
    if gpu.driver is None and gpu.capability is None:
        return "no GPU: nvidia-smi finds none here. Without one, set VERL_PLATFORM=cpu" if required else None
    if gpu.torch is None:
        return f"torch does not load: {gpu.kernel_fault}. Reinstall: bash constraints/install.sh --cuda"
    if gpu.torch_cuda is None:
        return f"torch {gpu.torch} is a build without CUDA. Install the pinned one: bash constraints/install.sh --cuda"
    if gpu.capability is None:
        built, runs = gpu.torch_cuda, gpu.driver_cuda
        if runs and runs[0] < int(built.split(".")[0]):
            return f"torch is built for CUDA {built}, the driver runs up to {runs[0]}.{runs[1]}. Update the driver"
        return f"torch cannot use {gpu.driver}. Is CUDA_VISIBLE_DEVICES empty, or the device not passed on here?"
    if gpu.capability < LEAST_CAPABILITY:
        return f"compute capability {gpu.capability / 10} is too old for vLLM, which needs {LEAST_CAPABILITY / 10}"
    if gpu.kept_kernels not in (None, gpu.capability):
        return (
            f"this environment kept kernels for compute capability {gpu.kept_kernels / 10}, the GPU has "
            f"{gpu.capability / 10}. Build its bundle with --sm {gpu.capability}, or without --sm"
        )
    if gpu.total_bytes and gpu.free_bytes < NEEDS_BYTES:
        free, total = (size / (1 << 30) for size in (gpu.free_bytes, gpu.total_bytes))
        return (
            f"{free:.1f} of {total:.1f} GiB are free, the demo needs {NEEDS_BYTES >> 30}. nvidia-smi says who has them"
        )
    if gpu.kernel_fault:
        return f"a kernel did not run: {gpu.kernel_fault}"
    return None
