"""torchcodec: exact seeking over a scan of the whole file. Needs torch and FFmpeg's shared libraries."""

from __future__ import annotations

import time

import numpy as np
from torchcodec.decoders import VideoDecoder

from longvt_plugins.errors import VideoDecodeError, VideoOpenError

from ..index import FrameIndex
from .proof import proven


def decode(
    path: str, index: FrameIndex, numbers: np.ndarray, size: tuple[int, int] | None, deadline: float | None = None
) -> np.ndarray:
    """Frames by display number: uint8 ``[len(numbers), height, width, 3]``, RGB.

    Raises:
        VideoOpenError: the file does not open.
        VideoDecodeError: a frame does not come out, or is another one; or the deadline passed before the start.
    """
    if deadline is not None and time.monotonic() > deadline:
        raise VideoDecodeError(path, "did not decode before the deadline", "Raise the deadline.")
    try:
        decoder = VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="exact", dimension_order="NHWC")
    except (RuntimeError, ValueError) as error:
        raise VideoOpenError(path, "does not open with torchcodec", "Use pyav.") from error
    try:
        batch = decoder.get_frames_at([int(number) for number in numbers])
        first_s = decoder.get_frame_at(0).pts_seconds
    except (RuntimeError, ValueError, IndexError) as error:
        raise VideoDecodeError(path, "does not decode with torchcodec", "Use pyav.") from error
    times_s = batch.pts_seconds.numpy() - first_s
    return proven(path, "torchcodec", index, numbers, size, deadline, batch.data.numpy(), times_s)
