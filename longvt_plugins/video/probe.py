"""What a video file is: content identity, size, duration and the time of every frame.

The frame index comes from the mp4 sample tables where they are plain, from a packet scan elsewhere; it is
kept by content identity in this process, and a scanned one on the node, so a file is scanned once.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass, fields
from fractions import Fraction
from hashlib import blake2b

import numpy as np

from longvt_plugins.errors import VideoOpenError
from longvt_plugins.types import MediaRef

from . import node_store
from .index import FrameIndex
from .mp4 import read_tables
from .packets import scan_packets
from .record import Record, make_record

ARRAYS = ("pts", "dts", "key", "shown")
MAX_INDEX_BYTES = 128 << 20

_guard = threading.Lock()
_indices: OrderedDict[tuple[str, str], FrameIndex] = OrderedDict()


@dataclass(frozen=True)
class VideoInfo:
    path: str
    identity: str
    """``"<bytes>-<mtime_ns>"``: changes when the content may have."""
    size: tuple[int, int]
    """``(height, width)`` as displayed."""
    codec: str
    times_s: np.ndarray
    """float64 ``[num_frames]``: presentation times, ascending, first frame at 0."""
    duration_s: float
    """Until the last frame leaves the screen."""

    @property
    def fps(self) -> float:
        """Average frames per second."""
        return len(self.times_s) / self.duration_s

    def frames(self, times_s: tuple[float, ...], size: tuple[int, int]) -> MediaRef:
        """These frames of this content, by reference."""
        return MediaRef(path=self.path, identity=self.identity, times_s=times_s, size=size)


def content_identity(path: str) -> str:
    """Identity of the content of ``path``: ``"<bytes>-<mtime_ns>"``.

    Raises:
        VideoOpenError: the path is missing, unreadable, not a regular file, or empty.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoOpenError(path, f"cannot be read ({reason})", "Check the path and video_root.") from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoOpenError(path, "is not a regular file", "Name a video file.")
    if status.st_size == 0:
        raise VideoOpenError(path, "is empty", "Fetch the file again.")
    return f"{status.st_size}-{status.st_mtime_ns}"


def frame_index(path: str, identity: str, by_packets: bool = False, deadline: float | None = None) -> FrameIndex:
    """Frame index of a file with this identity, read once.

    Args:
        by_packets: the sample tables are known to mislead; believe the demuxer.
        deadline: ``time.monotonic`` at which to give up a scan, or waiting for another process that scans.

    Raises:
        VideoOpenError: missing, unreadable, or without a video stream.
        VideoDecodeError: a stream that does not yield its first frame, or not in time.
    """
    key = (path, identity)
    with _guard:
        index = _indices.get(key)
        if index is not None and not (by_packets and index.source == "tables"):
            _indices.move_to_end(key)
            return index
    index = None if by_packets else _tables(path)
    if index is None:
        # Reading tables again is cheaper than a file; a scan reads the whole video, so the node keeps it.
        digest = blake2b(f"index 1 {path} {identity}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
        record = node_store.shared().fetch(digest, lambda: _to_record(scan_packets(path, deadline)), deadline)
        index = _from_record(record)
    with _guard:
        _indices[key] = index
        while sum(kept.nbytes for kept in _indices.values()) > MAX_INDEX_BYTES and len(_indices) > 1:
            _indices.popitem(last=False)
    return index


def _tables(path: str) -> FrameIndex | None:
    try:
        index = read_tables(path)
    except OSError as error:
        raise VideoOpenError(path, f"cannot be read ({error.strerror})", "Check its permissions.") from error
    return index if index is not None and index.shown.any() else None


def _to_record(index: FrameIndex) -> Record:
    meta = {field.name: getattr(index, field.name) for field in fields(index) if field.name not in (*ARRAYS, "samples")}
    meta["time_base"] = [index.time_base.numerator, index.time_base.denominator]
    return make_record(meta, {name: getattr(index, name) for name in ARRAYS})


def _from_record(record: Record) -> FrameIndex:
    meta = dict(record.meta)
    meta["time_base"] = Fraction(*meta["time_base"])
    meta["size"] = tuple(meta["size"])
    return FrameIndex(**meta, **record.arrays)


def probe(path: str | os.PathLike[str], deadline: float | None = None) -> VideoInfo:
    """Read the facts of a video, without decoding it.

    Args:
        path: a local file. URLs and device files are not videos.
        deadline: ``time.monotonic`` at which to give up; for containers other than plain mp4, which are read whole.

    Raises:
        VideoOpenError: missing, unreadable, or without a video stream.
        VideoDecodeError: a stream that does not yield its first frame, or its packets in time (containers other than
            plain mp4).
    """
    path = os.path.abspath(os.fspath(path))
    identity = content_identity(path)
    index = frame_index(path, identity, deadline=deadline)
    return VideoInfo(path, identity, index.size, index.codec, index.times_s, index.duration_s)


def _after_fork() -> None:
    """A fork may copy a held lock, and an order half changed: the child reads its indices itself."""
    global _guard, _indices
    _guard = threading.Lock()
    _indices = OrderedDict()


os.register_at_fork(after_in_child=_after_fork)
