"""Timestamps -> pixels: the frame on display at each time, with its true time, or a typed error."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from longvt_plugins.errors import VideoDecodeError, VideoOpenError

from .backends import backend as backend_by_name
from .index import IndexMismatch
from .probe import content_identity, frame_index


@dataclass(frozen=True, eq=False)
class Frames:
    times_s: tuple[float, ...]
    """True presentation times."""
    pixels: np.ndarray
    """uint8 ``[n, height, width, 3]``, RGB."""


def read_frames(
    path: str | os.PathLike[str],
    times_s: Sequence[float],
    size: tuple[int, int] | None = None,
    *,
    backend: str = "pyav",
    deadline_s: float | None = None,
) -> Frames:
    """For each time, the frame on display then (greatest presentation time <= t, from the first frame).

    Args:
        path: local video file.
        times_s: seconds in ``[0, duration]``, in any order; a frame asked for twice is returned twice.
        size: ``(height, width)`` to resize to; the video's own, as displayed, when ``None``.
        backend: one of ``video.backends.BACKENDS``; all return the same frames, or a typed error.
        deadline_s: give up after this many seconds.

    Raises:
        VideoOpenError: the file does not open, or changes while it is read.
        VideoDecodeError: a frame asked for does not come out undamaged, or not in time.
        VideoRangeError: a time outside the video.
        ConfigError: ``backend`` is unknown or not installed.
    """
    path = os.path.abspath(os.fspath(path))
    deadline = None if deadline_s is None else time.monotonic() + deadline_s
    wanted = np.asarray(times_s, dtype=np.float64).reshape(-1)
    decode = backend_by_name(backend)
    identity = content_identity(path)
    for by_packets in (False, True):
        index = frame_index(path, identity, by_packets, deadline)
        numbers, order = np.unique(index.on_display(wanted), return_inverse=True)
        try:
            pixels = (
                decode(path, index, numbers, size, deadline)[order] if len(numbers) else _nothing(size or index.size)
            )
            break
        except IndexMismatch:
            continue
    else:
        raise VideoDecodeError(path, "gives its packets other times on every reading", "Remux it to mp4 or mkv.")
    if content_identity(path) != identity:
        raise VideoOpenError(path, "changed while it was read", "Wait until it is written, then try again.")
    return Frames(tuple(index.times_s[numbers][order].tolist()), pixels)


def _nothing(size: tuple[int, int]) -> np.ndarray:
    return np.empty((0, *size, 3), dtype=np.uint8)
