"""Arrays by key, shared by all threads and processes of a node, bounded in bytes, made once.

A record is one file: written under another name, then renamed, so a reader sees all of it or nothing, and
mapped into memory, so processes share one copy. Whoever makes a record holds the key's lock file (``flock``:
the kernel lets go when a process dies); the others wait, then read. A record whose digest does not match its
bytes is made again. The oldest records go first when the directory outgrows its bound.

Where the directory cannot be used (read-only, full, someone else's) the store says so once, in the log and in
``status()``, and serves from this process alone.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from longvt_plugins.errors import ConfigError

from .record import Record, decode_record, encode_record

log = logging.getLogger(__name__)

DIRECTORY_VARIABLE = "LONGVT_CLIP_STORE"
BYTES_VARIABLE = "LONGVT_CLIP_STORE_BYTES"
DEFAULT_BYTES = 16 << 30
MEMORY_BYTES = 256 << 20
LOCK_WAIT_S = 300.0
STALE_S = 900.0
"""Unfinished files this old belong to a dead writer."""


@dataclass(frozen=True)
class StoreStatus:
    """What the store does; true where it is shared with the other processes of the node."""

    directory: str | None
    reason: str
    """Why it is not shared; empty where it is."""
    made: int
    """Records made by this process."""
    found: int
    """Records this process took from the node or from its own memory."""

    def __bool__(self) -> bool:
        return self.directory is not None and not self.reason


@dataclass
class NodeStore:
    """Args:
    directory: where records live; ``None`` keeps them in this process alone.
    max_bytes: bound of the directory.
    memory_bytes: bound of what this process keeps mapped.
    """

    directory: Path | None
    max_bytes: int = DEFAULT_BYTES
    memory_bytes: int = MEMORY_BYTES
    _memory: OrderedDict[str, Record] = field(default_factory=OrderedDict)
    _flights: dict[str, list] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _unscanned: int | None = None
    _reason: str = ""
    _made: int = 0
    _found: int = 0

    def fetch(self, key: str, make: Callable[[], Record], deadline: float | None = None) -> Record:
        """The record under ``key``; ``make`` runs in one thread of one process of the node.

        Args:
            key: hex digest of everything the record depends on.
            make: raises what it likes; nothing is stored then, and the next caller tries again.
            deadline: ``time.monotonic`` until which to wait for another maker; then ``make`` runs here.
        """
        record = self._remembered(key)
        if record is not None:
            return record
        wait_until = time.monotonic() + LOCK_WAIT_S if deadline is None else deadline
        with self._flight(key, wait_until):
            record = self._remembered(key) or self._load(key)
            if record is None:
                with self._lock_file(key, wait_until) as alone:
                    record = self._load(key)
                    if record is None:
                        record = make()
                        with self._guard:
                            self._made += 1
                        # Without the lock another maker is at work: its file is as good, and its name the same.
                        if alone:
                            self._save(key, record)
            self.remember(key, record)
        return record

    def has(self, key: str) -> bool:
        """Whether other processes find a record under ``key``."""
        return self.directory is not None and self._path(key).is_file()

    def status(self) -> StoreStatus:
        directory = None if self.directory is None else str(self.directory)
        return StoreStatus(directory, self._reason, self._made, self._found)

    def _remembered(self, key: str) -> Record | None:
        with self._guard:
            record = self._memory.get(key)
            if record is None:
                return None
            self._memory.move_to_end(key)
            self._found += 1
        if self.directory is not None:
            self._touch(self._path(key))
        return record

    def remember(self, key: str, record: Record) -> None:
        with self._guard:
            self._memory[key] = record
            total = sum(kept.nbytes for kept in self._memory.values())
            while total > self.memory_bytes and len(self._memory) > 1:
                total -= self._memory.popitem(last=False)[1].nbytes

    @contextmanager
    def _flight(self, key: str, wait_until: float) -> Iterator[None]:
        """One thread of this process at a time per key."""
        with self._guard:
            flight = self._flights.setdefault(key, [threading.Lock(), 0])
            flight[1] += 1
        acquired = flight[0].acquire(timeout=max(0.0, wait_until - time.monotonic()))
        try:
            yield
        finally:
            if acquired:
                flight[0].release()
            with self._guard:
                flight[1] -= 1
                if not flight[1]:
                    self._flights.pop(key, None)

    @contextmanager
    def _lock_file(self, key: str, wait_until: float) -> Iterator[bool]:
        """One process of the node at a time per key. False: nobody else could be kept out."""
        descriptor = None
        if self.directory is not None:
            try:
                descriptor = _acquire(self._path(key).with_suffix(".lock"), wait_until)
            except OSError as error:
                self._degrade(error)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                # Unlinked while held: whoever opened it meanwhile sees a lock without a name and starts over.
                self._path(key).with_suffix(".lock").unlink(missing_ok=True)
                os.close(descriptor)

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key

    def _load(self, key: str) -> Record | None:
        if self.directory is None:
            return None
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return None
        record = decode_record(data)
        if record is None:
            log.warning("clip store: %s is damaged and will be made again", path)
            path.unlink(missing_ok=True)
            return None
        self._touch(path)
        with self._guard:
            self._found += 1
        return record

    def _save(self, key: str, record: Record) -> None:
        """Write ``record`` where others find it, if there is room."""
        path = self._path(key)
        partial = path.with_suffix(".part")
        try:
            if record.nbytes > self.max_bytes // 8:
                return
            self._make_room(record.nbytes)
            with open(partial, "wb") as file:
                for piece in encode_record(record):
                    file.write(piece)
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            self._degrade(error)

    def _make_room(self, incoming: int) -> None:
        """Delete the oldest records when this one would take the directory past 7/8 of its bound.

        Counting costs a walk, so a process does it once per 1/256 of the bound that it writes; the last 1/8
        is room for what other processes write in between.
        """
        with self._guard:
            due = self._unscanned is None or self._unscanned + incoming > self.max_bytes // 256
            self._unscanned = 0 if due else self._unscanned + incoming
        if not due:
            return
        now, found = time.time(), []
        for path in self.directory.glob("??/*"):
            try:
                status = path.stat()
                if path.suffix and now - status.st_mtime > STALE_S:
                    path.unlink()
                else:
                    found.append((status.st_mtime_ns, status.st_size, path))
            except FileNotFoundError:
                continue
        total = incoming + sum(size for _, size, _ in found)
        if total <= self.max_bytes * 7 // 8:
            return
        for _, size, path in sorted(found):
            if total <= self.max_bytes * 3 // 4:
                break
            if not path.suffix:
                path.unlink(missing_ok=True)
                total -= size

    @staticmethod
    def _touch(path: Path) -> None:
        with suppress(OSError):
            os.utime(path)

    def _degrade(self, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        if reason != self._reason:
            log.warning(
                "clip store: %s cannot be used (%s): each process decodes for itself. Set %s to a writable directory.",
                self.directory, reason, DIRECTORY_VARIABLE,
            )  # fmt: skip
        self._reason = reason


def _acquire(path: Path, wait_until: float) -> int | None:
    """Descriptor that holds the lock, or ``None`` when time is up."""
    pause = 0.001
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)
            continue
        except BlockingIOError:
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if time.monotonic() > wait_until:
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def default_directory() -> Path | None:
    """``$LONGVT_CLIP_STORE`` (``off``: none), or a directory of this user's own in the temporary directory."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        return None if named == "off" else Path(named).absolute()
    return Path(tempfile.gettempdir()) / f"longvt-clips-{os.getuid()}"


def _bytes_from_environment() -> int:
    value = os.environ.get(BYTES_VARIABLE, str(DEFAULT_BYTES))
    if not value.isdecimal():
        raise ConfigError(
            f"{BYTES_VARIABLE}={value}", "must be a whole number of bytes", "Write 17179869184 for 16 GiB."
        )
    return int(value)


def open_store(directory: Path | None, max_bytes: int | None = None) -> NodeStore:
    """Store in ``directory``, checked for use: what cannot be used is reported once and not shared.

    Raises:
        ConfigError: ``$LONGVT_CLIP_STORE_BYTES`` is not a number.
    """
    if max_bytes is None:
        max_bytes = _bytes_from_environment()
    store = NodeStore(directory, max_bytes)
    if directory is None:
        return store
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.getuid() and DIRECTORY_VARIABLE not in os.environ:
            raise PermissionError(0, "belongs to another user")
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        store._degrade(error)
        store.directory = None
    return store


_store: NodeStore | None = None
_opening = threading.Lock()


def shared() -> NodeStore:
    """The store of this process, opened at first use."""
    global _store
    with _opening:
        if _store is None:
            _store = open_store(default_directory())
        return _store


def configure(directory: str | os.PathLike[str] | None, max_bytes: int | None = None) -> StoreStatus:
    """Use another directory from now on in this process; ``None`` shares nothing with other processes.

    Processes started later follow the environment: set ``$LONGVT_CLIP_STORE`` to move them as well.
    """
    global _store
    store = open_store(None if directory is None else Path(directory).absolute(), max_bytes)
    with _opening:
        _store = store
    return store.status()


def _after_fork() -> None:
    """A fork may copy held locks: the child opens its own store."""
    global _store, _opening
    _opening = threading.Lock()
    _store = None


os.register_at_fork(after_in_child=_after_fork)
