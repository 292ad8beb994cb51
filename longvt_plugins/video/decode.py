"""Timestamps -> pixels, with PyAV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np

from longvt_plugins.errors import VideoDecodeError, VideoOpenError

av.logging.set_level(av.logging.PANIC)


@dataclass(frozen=True)
class Frames:
    times_s: tuple[float, ...]
    """True presentation times."""
    pixels: np.ndarray
    """uint8 ``[n, height, width, 3]``, RGB."""


def read_frames(path: str | os.PathLike[str], times_s: Sequence[float], size: tuple[int, int] | None = None) -> Frames:
    """For each time, the frame on display then (greatest presentation time <= t, from the first frame).

    Args:
        path: video file.
        times_s: ascending, in seconds.
        size: ``(height, width)``; the video's own when ``None``.

    Raises:
        VideoOpenError: the file does not open.
        VideoDecodeError: a frame asked for does not come out.
    """
    path = os.fspath(path)
    wanted = list(times_s)
    if wanted != sorted(wanted):
        raise VideoDecodeError(path, "times must ascend", "Sort times_s.")
    try:
        container = av.open(path)
    except (av.FFmpegError, OSError) as error:
        raise VideoOpenError(path, f"does not open ({error})", "Re-encode or drop the file.") from error
    with container:
        if not container.streams.video:
            raise VideoOpenError(path, "holds no video stream", "Name a video file.")
        stream = container.streams.video[0]
        # One thread: leaving a multi-threaded PyAV decode early can deadlock on the GIL.
        stream.codec_context.thread_count = 1
        try:
            first_pts = next(p.pts for p in container.demux(stream) if p.pts is not None)
            taken = _take(container, stream, first_pts, wanted, size)
        except (av.FFmpegError, StopIteration) as error:
            raise VideoDecodeError(path, f"does not decode ({error})", "Re-encode or drop the file.") from error
    if len(taken) != len(wanted):
        raise VideoDecodeError(
            path, f"{len(wanted) - len(taken)} of {len(wanted)} frames did not come out", "Re-encode the file."
        )
    return Frames(tuple(t for t, _ in taken), np.stack([p for _, p in taken]))


def _take(container, stream, first_pts: int, wanted: list[float], size) -> list[tuple[float, np.ndarray]]:
    time_base = float(stream.time_base)
    container.seek(first_pts + int(wanted[0] / time_base), stream=stream, backward=True)
    taken: list[tuple[float, np.ndarray]] = []
    shown = None
    for frame in container.decode(stream):
        time_s = (frame.pts - first_pts) * time_base
        while len(taken) < len(wanted) and shown is not None and time_s > wanted[len(taken)] + 1e-6:
            taken.append(_pixels(shown, first_pts, time_base, size))
        if len(taken) == len(wanted):
            return taken
        shown = frame
    while shown is not None and len(taken) < len(wanted):
        taken.append(_pixels(shown, first_pts, time_base, size))
    return taken


def _pixels(frame, first_pts: int, time_base: float, size) -> tuple[float, np.ndarray]:
    height, width = size or (frame.height, frame.width)
    image = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return (frame.pts - first_pts) * time_base, image
