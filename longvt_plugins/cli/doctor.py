"""Is this installation able to run? Each check is one line: what was looked at, and what is wrong with it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from longvt_plugins.cli import Outcome, gpu

PINS = {"verl": "0.9.1", "transformers": "5.8.1", "TransferQueue": "0.1.11", "tensordict": "0.10.0", "av": "15.1.0"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gpu", action="store_true", help="having no GPU is a fault")


def run(args: argparse.Namespace) -> Outcome:
    results = {name: check() for name, check in CHECKS.items()}
    results["GPU"] = gpu.problem(gpu.read(), required=args.gpu)
    ok = all(problem is None for problem in results.values())
    lines = [
        f"{'ok  ' if problem is None else 'FAIL'} {name}" + (f": {problem}" if problem else "")
        for name, problem in results.items()
    ]
    return Outcome(ok=ok, text="\n".join(lines), data={"checks": results})


def python_version() -> str | None:
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return None
    return f"found {platform.python_version()}; verl, av and numpy need 3.11 or 3.12"


def versions() -> str | None:
    wrong = []
    for name, want in PINS.items():
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            have = "missing"
        if have != want:
            wrong.append(f"{name} is {have}, tested with {want}")
    return "; ".join(wrong) or None


def entry_point() -> str | None:
    found = [e for e in importlib.metadata.entry_points(group="verl.plugins") if e.name == "longvt"]
    if not found:
        return "no entry point 'longvt' in group 'verl.plugins': reinstall longvt-plugins"
    policy = os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto")
    if policy != "auto" and "longvt" not in policy.split(","):
        return f"VERL_USE_EXTERNAL_PLUGINS={policy} keeps verl from loading it: unset it"
    return None


def registration() -> str | None:
    """In a process of its own: load every registered part the way verl does."""
    code = (
        "import verl, verl.experimental.agent_loop, verl.trainer.ppo.v1, importlib\n"
        "from longvt_plugins.registry import PARTS\n"
        "[importlib.import_module(part.module) for part in PARTS]\n"
        "from verl.experimental.agent_loop.agent_loop import _agent_loop_registry as loops\n"
        "assert 'longvt_agent' in loops, sorted(loops)\n"
        "from verl.trainer.ppo.v1 import get_trainer_cls\n"
        "get_trainer_cls('longvt_sync')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    return None if done.returncode == 0 else done.stderr.strip()[-1500:]


def recipes() -> str | None:
    from longvt_plugins.launch.compose import compose_recipe

    try:
        compose_recipe("longvt_demo")
    except Exception as error:
        return f"longvt_demo does not compose by name: {error}"
    return None


def video() -> str | None:
    """Encode one second, decode it, compare."""
    import av
    import numpy as np

    from longvt_plugins.video import read_frames

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grey.mp4")
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for i in range(10):
                frame = np.full((64, 64, 3), 20 * i, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        mean = float(read_frames(path, [0.55]).pixels.mean())
    return None if abs(mean - 100) < 8 else f"frame at 0.55 s has mean {mean:.0f}, not 100: the decoder is broken"


def engine() -> str | None:
    if importlib.util.find_spec("vllm") is None and importlib.util.find_spec("sglang") is None:
        return "neither vllm nor sglang is installed: bash constraints/install.sh"
    return None


CHECKS: dict[str, Callable[[], str | None]] = {
    "Python 3.11 or 3.12": python_version,
    "pinned versions": versions,
    "entry point verl.plugins": entry_point,
    "every registered part loads in verl": registration,
    "recipes resolve by name": recipes,
    "video decodes": video,
    "rollout engine": engine,
}
