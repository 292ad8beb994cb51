"""A node of a Ray cluster that is lost, named. Ray tells a driver only that an actor died, or lets it wait.

Run as a module it is a driver that prints one line when a node is gone, and ends. It is a process of its own because
Ray ends a driver whose head does not answer.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time

PERIOD_S = 2.0


def listens(address: str) -> bool:
    """Whether something answers at ``HOST:PORT``. Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False


class NodeWatch:
    """Watches the nodes that are in the cluster at ``address`` (``HOST:PORT``) now."""

    def __init__(self, address: str):
        self.address = address
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", __name__, address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def lost(self, wait_s: float = 0.0) -> str | None:
        """What was lost and what to do; ``None``: nothing, or it is not known within ``wait_s``."""
        readable, _, _ = select.select([self._watcher.stdout], [], [], wait_s)
        if not readable:
            return None
        line = self._watcher.stdout.readline().strip()
        if line:
            return line
        return f"the head of the Ray cluster at {self.address} does not answer any more. Look at Ray's logs there"

    def stop(self) -> None:
        self._watcher.terminate()
        self._watcher.wait()
        self._watcher.stdout.close()


def tell(node: dict) -> str:
    reason = node.get("DeathReasonMessage") or "its Ray stopped answering"
    return (
        f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']}) was lost: {' '.join(reason.split())}. "
        "Look there for a full memory, a reset GPU, an ended job or a broken network; then start the same command "
        "again: it goes on from the last checkpoint, unless trainer.resume_mode=disable"
    )


def main(address: str) -> None:
    # Ray prints what its workers say.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    known = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    while True:
        for node in ray.nodes():
            if node["NodeID"] in known and not node["Alive"]:
                print(tell(node), file=out, flush=True)
                return
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    main(sys.argv[1])
