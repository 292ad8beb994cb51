"""What `longvt doctor` says about the GPU: driver, CUDA, kernels, memory.

The GPU is looked at from a process of its own, so that the doctor keeps no CUDA context, and a driver that hangs or
crashes costs that process. ``read`` returns what was found; ``problem`` judges it and needs no GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from longvt_plugins.launch.finding import Finding

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


def check(required: bool) -> Iterator[Finding | str]:
    found = read()
    if wrong := problem(found, required):
        yield wrong
    yield f"{found.driver}, {found.free_bytes / (1 << 30):.0f} GiB free" if found.driver else "none"


def problem(gpu: Gpu, required: bool) -> Finding | None:
    """What is wrong with it, and what to do. ``required``: having none is wrong, too."""
    install = "Install the pinned one: bash constraints/install.sh --cuda"
    if gpu.driver is None and gpu.capability is None:
        return (
            _finding("no GPU", "nvidia-smi finds none here", "Without one, set VERL_PLATFORM=cpu") if required else None
        )
    if gpu.torch is None:
        return _finding("torch", f"does not load: {gpu.kernel_fault}", install)
    if gpu.torch_cuda is None:
        return _finding(f"torch {gpu.torch}", "is a build without CUDA", install)
    if gpu.capability is None:
        built, runs = gpu.torch_cuda, gpu.driver_cuda
        if runs and runs[0] < int(built.split(".")[0]):
            why = f"the driver runs up to {runs[0]}.{runs[1]}"
            return _finding(f"torch is built for CUDA {built}", why, "Update the driver")
        why = "torch cannot use it"
        return _finding(str(gpu.driver), why, "Is CUDA_VISIBLE_DEVICES empty, or the device not passed on here?")
    capability = f"compute capability {gpu.capability / 10}"
    if gpu.capability < LEAST_CAPABILITY:
        return _finding(capability, f"is too old for vLLM, which needs {LEAST_CAPABILITY / 10}", "Use a newer GPU")
    if gpu.kept_kernels not in (None, gpu.capability):
        why = f"this environment kept kernels for {gpu.kept_kernels / 10}"
        return _finding(capability, why, f"Build its bundle with --sm {gpu.capability}, or without --sm")
    if gpu.total_bytes and gpu.free_bytes < NEEDS_BYTES:
        free, total = (size / (1 << 30) for size in (gpu.free_bytes, gpu.total_bytes))
        why = f"the demo needs {NEEDS_BYTES >> 30}"
        return _finding(f"{free:.1f} of {total:.1f} GiB are free", why, "nvidia-smi says who has them")
    if gpu.kernel_fault:
        return _finding("a kernel", f"did not run: {gpu.kernel_fault}", "Reinstall: bash constraints/install.sh --cuda")
    return None


def _finding(what: str, why: str, remedy: str) -> Finding:
    return Finding("gpu", what, why, remedy)
