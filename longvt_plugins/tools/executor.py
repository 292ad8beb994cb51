"""crop_video for an event loop: bounded, with a deadline, and safe from decoders that crash or hang.

Arguments are read at once; a call that asks for frames waits for one of ``workers`` threads, each of which owns a
child process (``worker``) and sleeps while it decodes. Children start when first needed and live on, so the usual
call costs a pipe message more than decoding in process, and no pixels cross: both sides map the clip store.
A child that dies, or outlives its deadline and is killed, costs its call; the next call starts another.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from longvt_plugins.errors import ConfigError, ToolCallError, ToolClosedError, VideoDecodeError
from longvt_plugins.types import CropOutcome
from longvt_plugins.video import clip_store, node_store

from .arguments import CropRequest
from .crop_video import CropOptions, crop_request, fault_outcome, read_call

WORKERS_VARIABLE = "LONGVT_CROP_WORKERS"
START_S = 120.0
"""Time for a child to import what it needs, on a busy machine."""
GRACE_S = 5.0
"""The child ends a slow decode itself at the deadline; one that has not by then hangs."""
MAX_REPLY_BYTES = 1 << 32


class ChildDied(Exception):
    """The child ended, or said what it never says."""


class ChildHung(Exception):
    """The child did not answer in time."""


class CropExecutor:
    """Runs crops beside an event loop. Threads and loops may share one executor.

    Args:
        workers: crops at once; ``None``: ``$LONGVT_CROP_WORKERS``, or an eighth of the cores, from 2 to 8.
        isolation: ``"process"``, or ``"thread"`` to decode in this process: no start-up cost, no protection from a
            decoder that crashes or hangs. For processes that serve one call.

    Raises:
        ConfigError: ``workers`` is not a positive number.
    """

    def __init__(self, workers: int | None = None, isolation: Literal["process", "thread"] = "process"):
        self.workers = _default_workers() if workers is None else workers
        if self.workers < 1:
            raise ConfigError(f"workers={workers}", "must be at least 1", "Change it.")
        self.isolation = isolation
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="crop_video")
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()
        self._guard = threading.Lock()
        self._closed = False

    async def crop(
        self, arguments: Mapping[str, object], videos: Sequence[str], options: CropOptions | None = None
    ) -> CropOutcome:
        """``crop_video`` without blocking the loop. Never raises, except when cancelled."""
        started = time.monotonic()
        try:
            request, path = read_call(arguments, videos)
            waiting = self._submit(request, path, options or CropOptions())
        except (ToolCallError, ToolClosedError) as error:
            return fault_outcome(error, time.monotonic() - started)
        outcome = await asyncio.wrap_future(waiting)
        return outcome.model_copy(update={"seconds": time.monotonic() - started})

    def close(self) -> None:
        """End the children. Calls under way and calls that wait end as failed, as do later ones; a call that decodes
        in this process is let finish."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._busy:
                # Its pipes are in the hands of the thread that waits for it.
                child.process.kill()
        for child in idle:
            child.kill()
        # What waits still runs, and meets the closed executor: a cancelled future would look like a cancelled task.
        self._threads.shutdown(wait=False)

    def _submit(self, request: CropRequest, path: str, options: CropOptions) -> Future[CropOutcome]:
        run = self._in_thread if self.isolation == "thread" else self._in_child
        try:
            return self._threads.submit(run, request, path, options)
        except RuntimeError as error:
            raise _closed() from error

    def _in_thread(self, request: CropRequest, path: str, options: CropOptions) -> CropOutcome:
        return fault_outcome(_closed()) if self._closed else crop_request(request, path, options)

    def _in_child(self, request: CropRequest, path: str, options: CropOptions) -> CropOutcome:
        child = None
        try:
            child = self._take()
            outcome = child.crop(request, path, options)
        except Exception as error:
            if child is not None:
                self._drop(child)
            return fault_outcome(_closed() if self._closed else _as_video_error(path, error, options))
        self._give_back(child)
        return outcome

    def _take(self) -> _Child:
        """A child for one call.

        Raises:
            ToolClosedError: the executor is closed.
        """
        with self._guard:
            if self._closed:
                raise _closed()
            # The latest back is the warmest.
            child = self._idle.pop() if self._idle else None
        if child is None or not child.alive():
            child = _Child()
        with self._guard:
            self._busy.add(child)
            if not self._closed:
                return child
        self._drop(child)
        raise _closed()

    def _give_back(self, child: _Child) -> None:
        with self._guard:
            if not self._closed:
                self._busy.discard(child)
                self._idle.append(child)
                return
        self._drop(child)

    def _drop(self, child: _Child) -> None:
        with self._guard:
            self._busy.discard(child)
        child.kill()


def _closed() -> ToolClosedError:
    return ToolClosedError("crop_video", "the executor of this call is closed", "Open another.")


def _as_video_error(path: str, error: Exception, options: CropOptions) -> Exception:
    if isinstance(error, ChildHung):
        rule = f"did not decode before the deadline of {options.deadline_s:g} s, and its decoder was ended"
        return VideoDecodeError(path, rule, "Re-encode the file, or raise deadline_s.")
    if isinstance(error, ChildDied):
        return VideoDecodeError(path, f"ended its decoder process ({error})", "Re-encode or drop the file.")
    return error


def _default_workers() -> int:
    value = os.environ.get(WORKERS_VARIABLE)
    if value is None:
        return max(2, min(8, len(os.sched_getaffinity(0)) // 8))
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"{WORKERS_VARIABLE}={value}", "must be a positive whole number", "Unset it for the default.")
    return int(value)


class _Child:
    """One child process and its pipes. Used by one thread at a time."""

    def __init__(self):
        package_root = str(Path(__file__).parents[2])
        inherited = os.environ.get("PYTHONPATH")
        directory = node_store.shared().directory
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([package_root, *([inherited] if inherited else [])]),
            node_store.DIRECTORY_VARIABLE: "off" if directory is None else str(directory),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "longvt_plugins.tools.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # Ctrl-C is the parent's to handle; the child ends when the pipe closes.
            start_new_session=True,
        )
        self._receive(START_S)

    def alive(self) -> bool:
        return self.process.poll() is None

    def crop(self, request: CropRequest, path: str, options: CropOptions) -> CropOutcome:
        message = pickle.dumps((request, path, options))
        try:
            self.process.stdin.write(struct.pack("<Q", len(message)) + message)
            self.process.stdin.flush()
        except OSError as error:
            raise ChildDied(self._ending()) from error
        deadline = time.monotonic() + options.deadline_s + GRACE_S
        outcome = CropOutcome.model_validate_json(self._receive(deadline - time.monotonic()))
        pixels = self._receive(deadline - time.monotonic())
        if pixels and outcome.media is not None:
            shape = (len(outcome.media.times_s), *outcome.media.size, 3)
            clip_store.put(outcome.media, np.frombuffer(pixels, dtype=np.uint8).reshape(shape))
        return outcome

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            # A request that it never read is still in the buffer.
            self.process.stdin.close()
        self.process.stdout.close()

    def _receive(self, timeout_s: float) -> bytes:
        until = time.monotonic() + timeout_s
        length = struct.unpack("<Q", self._read(8, until))[0]
        if length > MAX_REPLY_BYTES:
            raise ChildDied("it sent nonsense")
        return self._read(length, until)

    def _read(self, count: int, until: float) -> bytes:
        pipe, parts = self.process.stdout.fileno(), []
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while count:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise ChildHung
            part = os.read(pipe, min(count, 1 << 20))
            if not part:
                raise ChildDied(self._ending())
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _ending(self) -> str:
        try:
            code = self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


_executor: CropExecutor | None = None
_opening = threading.Lock()


async def execute(
    arguments: Mapping[str, object], videos: Sequence[str], options: CropOptions | None = None
) -> CropOutcome:
    """``crop_video`` on this process's executor: what an agent loop awaits. Never raises, except when cancelled."""
    global _executor
    with _opening:
        if _executor is None:
            _executor = CropExecutor()
    return await _executor.crop(arguments, videos, options)


def _after_fork() -> None:
    """Threads and pipes of the parent do not work in a fork: the child starts its own."""
    global _executor, _opening
    _opening = threading.Lock()
    _executor = None


os.register_at_fork(after_in_child=_after_fork)
