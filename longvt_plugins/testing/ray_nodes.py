"""Several Ray nodes on this machine, each with a loopback address of its own: real ``ray start``, real processes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD, OTHER = "127.0.0.2", "127.0.0.3"
ENDING_ALL = "import subprocess, sys\nfrom longvt_plugins.launch.processes import ending_all\n"
ENDING_ALL += "with ending_all():\n    sys.exit(subprocess.call(sys.argv[1:]))\n"


def free_port() -> int:
    """Below the ports that Ray gives to its workers."""
    for port in range(6400, 6500):
        with socket.socket() as probe:
            if probe.connect_ex((HEAD, port)):
                return port
    raise RuntimeError("no free port")


def python(
    arguments: Sequence[str], cwd: Path, log: Path, first_on_path: Path | None = None, **variables: str
) -> subprocess.Popen:
    path = os.pathsep.join(str(folder) for folder in (first_on_path, ROOT) if folder)
    environment = {**os.environ, "VERL_PLATFORM": "cpu", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": path, **variables}
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
        )


def start_ray(arguments: Sequence[str], cwd: Path, log: Path, first_on_path: Path | None = None) -> subprocess.Popen:
    """``ray start``; SIGTERM to the process returned ends all of it."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *arguments]
    return python(["-c", ENDING_ALL, *ray], cwd, log, first_on_path)


def left_of(port: int) -> Path:
    """Folder for Ray's sessions: its sockets have short names at most, so it cannot be in a test's own."""
    return Path(tempfile.gettempdir(), f"longvt-test-{os.getpid()}-{port}")


def stop(*processes: subprocess.Popen, folder: Path) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)
