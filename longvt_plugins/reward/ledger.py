"""Every verdict ever paid for: one append-only file of JSON lines, which is also the cache.

A line is written whole, by one ``write`` under a lock, before anybody is told the verdict; a torn last line (the
machine died, the disk was full) is skipped and counted, and the next line starts after it. ``single flight``: the
process that asks a question holds a record lock on the byte of ``<file>.lock`` that the question hashes to, so equal
questions wait for one call. The kernel drops such locks with their process: after a kill -9 nothing is held, and at
most the calls in flight are made again. Only decisions are cached: an abstention is told to those who waited for it,
recorded, and asked again.

Why not SQLite: single flight would need leases with clocks, its WAL does not work on a shared filesystem, and a
person cannot read it. Record locks work on NFSv4. Lines survive the death of the process; those of the last seconds
may not survive the death of the machine (there is no fsync).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import Record, Verdict

_APPENDING = 0
_QUESTIONS = 1
_POLL_S = 0.01, 0.2
_HELD = (errno.EAGAIN, errno.EACCES)
"""What ``lockf`` says of a lock that another process holds."""


class LedgerEntry(Record):
    """One verdict and how it came about."""

    version: Literal[1] = 1
    key: str
    time: float
    """Seconds since the epoch, when the verdict was there."""
    verdict: Verdict
    model: str = ""
    revision: str = ""
    prompt: str = ""
    """Hash of the judge's prompts."""
    settings: dict[str, Any] = Field(default_factory=dict)
    question: str = ""
    reference: str = ""
    answer: str = ""
    reply: str = ""
    """The judge's last reply, raw."""
    endpoint: str = ""
    latency_s: float = 0.0
    """From the first request to the verdict."""
    attempts: int = 0
    faults: tuple[str, ...] = ()
    """What went wrong on the way."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """In the currency of ``dollars_per_million``."""


class Ledger:
    """One per file and process (``open_ledger``): record locks belong to a process, not to an object.

    Args:
        path: the file; ``None`` remembers within this object and writes nothing.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self.path = Path(path) if path else None
        self.hits = 0
        self.damaged_lines = 0
        self._known: dict[str, LedgerEntry] = {}
        self._abstained: dict[str, LedgerEntry] = {}
        self._flights: dict[str, concurrent.futures.Future[LedgerEntry | None]] = {}
        self._guard = threading.RLock()
        self._read_to = 0
        if self.path:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                self._locks = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
                self._try_lock()
            except OSError as error:
                remedy = "Name a writable file, on a file system with record locks."
                raise ConfigError(str(path), f"cannot be a ledger ({error})", remedy) from error

    async def once(self, key: str, ask: Callable[[], Awaitable[LedgerEntry]]) -> tuple[LedgerEntry, bool]:
        """The entry for ``key``, and whether it was there already; without it, the result of one ``ask``.

        However many tasks, threads and processes want the same key at once, one asks. What it raises is raised
        here; if it is cancelled or killed, another one asks.
        """
        while True:
            with self._guard:
                entry = self._look_up(key)
                if entry:
                    self._hit(entry)
                    return entry, True
                flight = self._flights.get(key)
                mine = flight is None
                if mine:
                    flight = self._flights[key] = concurrent.futures.Future()
            if mine:
                return await self._lead(key, ask, flight)
            entry = await asyncio.shield(asyncio.wrap_future(flight))
            if entry:
                with self._guard:
                    self._hit(entry)
                return entry, True

    async def _lead(self, key: str, ask, flight: concurrent.futures.Future) -> tuple[LedgerEntry, bool]:
        entry, hit, error = None, False, None
        since = time.time()
        try:
            async with self._claimed(key):
                with self._guard:
                    entry = self._look_up(key) or self._abstention(key, since)
                hit = entry is not None
                if hit:
                    self._hit(entry)
                else:
                    entry = await ask()
                    self.append(entry)
            return entry, hit
        except Exception as raised:
            error = raised
            raise
        finally:
            with self._guard:
                del self._flights[key]
            if error:
                flight.set_exception(error)
                flight.exception()  # seen, though nobody may be waiting
            else:
                flight.set_result(entry)

    def append(self, entry: LedgerEntry) -> None:
        """Record a verdict; from here on a decision is known."""
        with self._guard:
            self._write(entry.model_dump_json(exclude_defaults=True))
            self._remember(entry)

    def entries(self) -> Iterator[LedgerEntry]:
        """Every recorded verdict, in order."""
        if not self.path:
            yield from self._known.values()
            return
        with self.path.open("rb") as lines:
            for line in lines:
                entry = _entry(line)
                if isinstance(entry, LedgerEntry):
                    yield entry

    def _look_up(self, key: str) -> LedgerEntry | None:
        if key not in self._known:
            self._read_on()
        return self._known.get(key)

    def _read_on(self) -> None:
        """Take in the whole lines that others appended."""
        if not self.path or os.fstat(self._file).st_size <= self._read_to:
            return
        with open(self.path, "rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read_to += whole
        for line in data[:whole].splitlines():
            entry = _entry(line)
            if isinstance(entry, LedgerEntry):
                self._remember(entry)
            elif entry is None:
                self.damaged_lines += 1

    def _remember(self, entry: LedgerEntry) -> None:
        if entry.verdict.status == "ok":
            self._known.setdefault(entry.key, entry)
            self._abstained.pop(entry.key, None)
        else:
            self._abstained[entry.key] = entry

    def _abstention(self, key: str, since: float) -> LedgerEntry | None:
        """What another process found out while this one waited: in an outage, not everyone waits in turn."""
        entry = self._abstained.get(key)
        return entry if entry and entry.time >= since else None

    def _try_lock(self) -> None:
        """Some file systems are mounted without record locks (Lustre without ``flock``).

        Raises:
            OSError: this is one of them.
        """
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _APPENDING)
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _APPENDING)
        except OSError as error:
            if error.errno not in _HELD:
                raise

    def _hit(self, entry: LedgerEntry) -> None:
        self.hits += 1
        if entry.verdict.status == "ok":
            self._write(json.dumps({"hit": entry.key, "time": round(time.time(), 3)}))

    def _write(self, line: str) -> None:
        if not self.path:
            return
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, _APPENDING)
        try:
            size = os.fstat(self._file).st_size
            torn = size and os.pread(self._file, 1, size - 1) != b"\n"
            data = b"\n" * torn + line.encode() + b"\n"
            if os.write(self._file, data) != len(data):
                raise OSError(f"{self.path}: the disk took only a part of a verdict")
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, _APPENDING)

    @contextlib.asynccontextmanager
    async def _claimed(self, key: str) -> AsyncIterator[None]:
        """Hold ``key`` against other processes. Polls: a blocking wait would stop the event loop."""
        if not self.path:
            yield
            return
        position, pause_s = _QUESTIONS + int(key[:15], 16), _POLL_S[0]
        while True:
            try:
                fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
                break
            except OSError as error:
                if error.errno not in _HELD:
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _POLL_S[1])
        try:
            yield
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, position)


_open: dict[tuple[int, str], Ledger] = {}


def open_ledger(path: str | os.PathLike[str] | None) -> Ledger:
    """The ledger of ``path`` in this process; a new one for ``None``."""
    if path is None:
        return Ledger(None)
    identity = os.getpid(), os.path.realpath(path)
    if identity not in _open:
        _open[identity] = Ledger(path)
    return _open[identity]


def _entry(line: bytes) -> LedgerEntry | dict | None:
    """A line: a verdict, a cache hit, or damage (``None``)."""
    if not line.strip():
        return {}
    try:
        return json.loads(line) if line.startswith(b'{"hit"') else LedgerEntry.model_validate_json(line)
    except (ValidationError, ValueError):
        return None
