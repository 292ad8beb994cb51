"""A vLLM server of one checkpoint on loopback, for as long as a block or a command needs it.

It is healthy before the block begins, within a bound, and ended on every way out: by its processes' mark, and by the
kernel if this process is killed.
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from longvt_plugins.errors import StageError
from longvt_plugins.launch.log import explain

from . import processes

POLL_S = 1.0


@contextmanager
def served(
    checkpoint: str | Path, name: str, log: Path, options: Sequence[str] = (), timeout_s: float = 900.0
) -> Iterator[str]:
    """The base URL of an OpenAI-compatible server.

    Args:
        checkpoint: a folder, or a name that vLLM can download.
        name: under which the checkpoint is served.
        options: further ones of ``vllm serve``.
        timeout_s: in which it must become healthy.

    Raises:
        StageError: it ended, or did not become healthy in time.
    """
    port = _free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(checkpoint)]
    command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port), *options]
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    url = f"http://127.0.0.1:{port}"
    with processes.started(command, f"{log.resolve()} {port}", log) as server:
        deadline = time.monotonic() + timeout_s
        while not _healthy(url):
            if (code := processes.wait(server, POLL_S)) is not None:
                raise StageError(f"vllm serve {checkpoint}", f"ended with exit code {code}", _told(log))
            if time.monotonic() > deadline:
                raise StageError(f"vllm serve {checkpoint}", f"was not healthy after {timeout_s:.0f} s", _told(log))
        yield f"{url}/v1"


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _told(log: Path) -> str:
    return f"Its log {log} says:\n{explain(log)}"
