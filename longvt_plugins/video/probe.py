"""What a video file is: content identity, size, duration and the time of every frame."""

from __future__ import annotations

import os
from dataclasses import dataclass

import av
import numpy as np

from longvt_plugins.errors import VideoOpenError


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


def content_identity(path: str) -> str:
    """Identity of the content of ``path``.

    Raises:
        VideoOpenError: the path is missing, not a regular file, or empty.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoOpenError(path, f"cannot be read ({error.strerror})", "Check the path and video_root.") from error
    if not os.path.isfile(path):
        raise VideoOpenError(path, "is not a regular file", "Name a video file.")
    if status.st_size == 0:
        raise VideoOpenError(path, "is empty", "Fetch the file again.")
    return f"{status.st_size}-{status.st_mtime_ns}"


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Read the facts of a video from its packets, without decoding.

    Raises:
        VideoOpenError: missing, unreadable, or without a video stream.
    """
    path = os.path.abspath(os.fspath(path))
    identity = content_identity(path)
    try:
        with av.open(path) as container:
            stream = container.streams.video[0]
            packets = [p for p in container.demux(stream) if p.pts is not None]
            size = (stream.height, stream.width)
            codec = stream.codec_context.name
            time_base = float(stream.time_base)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise VideoOpenError(
            path, f"holds no readable video stream ({error})", "Re-encode or drop the file."
        ) from error
    if not packets:
        raise VideoOpenError(path, "holds no video frames", "Re-encode or drop the file.")
    pts = np.sort(np.array([p.pts for p in packets], dtype=np.int64))
    last = max(packets, key=lambda p: p.pts)
    times_s = (pts - pts[0]) * time_base
    frame_s = (last.duration or 0) * time_base or (float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.04)
    return VideoInfo(path, identity, size, codec, times_s, float(times_s[-1] + frame_s))
