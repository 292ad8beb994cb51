"""A recipe on a Ray cluster that lives as long as the run: the same call on every node (``longvt launch``).

Rank 0 starts the head, waits for ``trainer.nnodes`` nodes, lets ``longvt doctor`` examine each of them, and runs
``main_ppo`` under ``longvt watch``. The other ranks wait for the head, join, and stay until it is gone. Whatever the
end, every process that was started here is ended. On a cluster that others start and stop (KubeRay), rank 0 does the
rest.

Ray's own stop command is not used: it ends every Ray of the machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from longvt_plugins import cpu
from longvt_plugins.errors import ConfigError
from longvt_plugins.trainer.options import read_options

from .compose import composed, files_of
from .nodes import listens
from .processes import ending_all

POLL_S = 1.0
TRIES = 5
"""A head is gone when it does not answer this often, with 2 s between."""


@dataclass(frozen=True)
class Place:
    """Where this process stands in the cluster."""

    rank: int
    head: str
    """Host of rank 0, as the other nodes reach it."""
    port: int = 6379
    ip: str | None = None
    """Address of this node, where Ray would take another of its interfaces."""

    @property
    def address(self) -> str:
        """Raises:
        ConfigError: the head's name has none here.
        """
        try:
            return f"{socket.gethostbyname(self.head)}:{self.port}"
        except (OSError, UnicodeError) as error:
            remedy = "Name rank 0's host as the other nodes reach it: --head, or LONGVT_HEAD."
            raise ConfigError(f"head {self.head}", f"has no address ({error})", remedy) from error

    @property
    def folder(self) -> Path:
        """Ray's logs here: not its default folder, from which other programs would find and join this cluster."""
        return Path(tempfile.gettempdir(), f"longvt-ray-{os.getuid()}-{self.port}")


@dataclass
class Launch:
    """One node's share of a run.

    Args:
        joined: the cluster at ``place`` is there already, and stays.
        wait_s: for the head, and for all nodes to join.
        idle_s: a run without a new phase for so long is ended (``longvt watch``).
        paths: must exist on every node, beside the data that the recipe names.
    """

    name: str
    overrides: Sequence[str]
    place: Place
    joined: bool = False
    wait_s: float = 600.0
    idle_s: float = 3600.0
    paths: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.config = composed(self.name, self.overrides)
        self.run_folder = Path(read_options(self.config.trainer)[0] or self.config.trainer.default_local_dir)
        self.nodes = int(self.config.trainer.nnodes)
        if self.place.rank >= self.nodes:
            rule = f"is outside the cluster: trainer.nnodes={self.nodes}"
            raise ConfigError(f"rank {self.place.rank}", rule, "Set trainer.nnodes to the number of nodes.")

    def run(self) -> tuple[int, str]:
        """Returns ``(exit code, message)``."""
        with ending_all():
            code, message = self._head() if self.place.rank == 0 else self._worker()
        if not self.joined:
            if code == 0:
                shutil.rmtree(self.place.folder, ignore_errors=True)
            else:
                message += f"\nRay's logs on this node: {self.place.folder}"
        return code, message

    def _head(self) -> tuple[int, str]:
        address = self.place.address
        if not self.joined:
            if listens(address):
                return 1, f"{address} is in use. Choose another port: --port, or LONGVT_PORT"
            ray = self._start_ray("--head", f"--port={self.place.port}", "--include-dashboard=false")
            if not self._wait_for(address, ray):
                return 1, f"Ray's head did not start: {self._ray_log()}"
        self._say(f"the head is at {address}; waiting for {self.nodes} nodes, then the doctor examines each")
        environment = os.environ | {"RAY_ADDRESS": address}
        # Made here and looked for on every node, it shows whether they share their storage.
        self.run_folder.mkdir(parents=True, exist_ok=True)
        longvt = [sys.executable, "-m", "longvt_plugins.cli.main"]
        doctor = [*longvt, "doctor", "--ray", address, "--nodes", str(self.nodes), "--wait", str(self.wait_s)]
        doctor += [f"--path={path}" for path in (*self.paths, *data_paths(self.config), self.run_folder)]
        doctor += [] if cpu.chosen() else ["--gpu"]
        if code := subprocess.call(doctor, env=environment):
            return code, "the run was not started: the doctor's findings are above"
        train = [sys.executable, "-m", "verl.trainer.main_ppo", *config_words(self.name), *self.overrides]
        watch = [*longvt, "watch", "--ray", address, "--folder", str(self.run_folder), "--idle", str(self.idle_s)]
        watch += ["--log", str(self.run_folder / "main_ppo.log"), "--", *train, *self._without_local_ray()]
        code = subprocess.call(watch, env=environment)
        return code, "the run has finished" if code == 0 else "the run has failed; the reason is above"

    def _worker(self) -> tuple[int, str]:
        # By name: it may have no address yet.
        head = f"{self.place.head}:{self.place.port}"
        if not self._wait_for(head):
            hint = "Is the name right, rank 0 running, the port open?"
            return 1, f"the head at {head} did not answer for {self.wait_s:.0f} s. {hint}"
        address = self.place.address
        ray = self._start_ray(f"--address={address}")
        self._say(f"joining the head at {address}")
        while not _gone(address):
            if ray.poll() is not None:
                return 1, f"Ray ended on this node with exit code {ray.returncode}: {self._ray_log()}"
            time.sleep(POLL_S)
        return 0, "the head is gone: this node has left"

    def _start_ray(self, *arguments: str) -> subprocess.Popen:
        """``ray start`` with the resources that the recipe wants of one machine, if it names any."""
        resources = self.config.ray_kwargs.get("ray_init") or {}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *arguments]
        for name in ("num_cpus", "num_gpus"):
            if (amount := resources.get(name)) is not None:
                command.append(f"--{name.replace('_', '-')}={amount}")
        ip = self.place.ip or (self.place.address.partition(":")[0] if self.place.rank == 0 else None)
        command += [f"--temp-dir={self.place.folder}", *([f"--node-ip-address={ip}"] if ip else [])]
        self._log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._log.open("wb") as log:
            # What RAY_ADDRESS names is another cluster.
            environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def _without_local_ray(self) -> list[str]:
        """Overrides: ``ray.init`` refuses resources where it joins a cluster; they went to ``ray start``."""
        resources = self.config.ray_kwargs.get("ray_init") or {}
        named = (name for name in ("num_cpus", "num_gpus") if resources.get(name) is not None)
        return [f"ray_kwargs.ray_init.{name}=null" for name in named]

    def _wait_for(self, address: str, ray: subprocess.Popen | None = None) -> bool:
        deadline = time.monotonic() + self.wait_s
        while time.monotonic() < deadline and (ray is None or ray.poll() is None):
            if listens(address):
                return True
            time.sleep(POLL_S)
        return False

    @property
    def _log(self) -> Path:
        return self.place.folder / f"ray_{self.place.rank}.log"

    def _ray_log(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'it said nothing'} ({self._log})"

    def _say(self, what: str) -> None:
        print(f"[launch, rank {self.place.rank}] {what}", flush=True)


def config_words(name: str) -> list[str]:
    """A recipe, or the path of one (``.yaml``), as Hydra's command line takes it."""
    if not name.endswith(".yaml"):
        return ["--config-name", name]
    path = Path(name).resolve()
    return ["--config-dir", str(path.parent), "--config-name", path.stem]


def data_paths(config: DictConfig) -> list[str]:
    """Data that every node reads: rows and videos."""
    root = OmegaConf.select(config, "data.longvt.video_root")
    return [*files_of(config, "train"), *files_of(config, "val"), *([root] if root else [])]


def _gone(address: str) -> bool:
    for _ in range(TRIES):
        if listens(address):
            return False
        time.sleep(2)
    return True
