"""decord: for parity with results made through it. Unmaintained, and misreads many files."""

from __future__ import annotations

import time

import decord
import numpy as np

from longvt_plugins.errors import VideoDecodeError, VideoOpenError

from ..index import FrameIndex
from .proof import proven

READABLE = (b"ftyp", b"\x1aE\xdf\xa3")
"""What the first bytes of mp4 (at 4) and of mkv and webm (at 0) are. It takes frames of MPEG-TS from anywhere."""


def decode(
    path: str, index: FrameIndex, numbers: np.ndarray, size: tuple[int, int] | None, deadline: float | None = None
) -> np.ndarray:
    """Frames by display number: uint8 ``[len(numbers), height, width, 3]``, RGB.

    Raises:
        VideoOpenError: the file does not open, or is of a kind decord misreads.
        VideoDecodeError: a frame does not come out, or is another one; or the deadline passed before the start.
    """
    if deadline is not None and time.monotonic() > deadline:
        raise VideoDecodeError(path, "did not decode before the deadline", "Raise the deadline.")
    with open(path, "rb") as file:
        head = file.read(8)
    if head[4:8] != READABLE[0] and head[:4] != READABLE[1]:
        raise VideoOpenError(path, "is not an mp4, mkv or webm file, and decord misreads others", "Use pyav.")
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        if len(reader) != len(index.display):
            raise VideoDecodeError(
                path, f"has {len(reader)} frames for decord, {len(index.display)} in truth", "Use pyav."
            )
        times_s = reader.get_frame_timestamp([0, *numbers.tolist()])[:, 0]
        pictures = reader.get_batch(numbers.tolist()).asnumpy()
    except (decord.DECORDError, RuntimeError) as error:
        if isinstance(error, VideoDecodeError):
            raise
        raise VideoDecodeError(path, "does not decode with decord", "Use pyav.") from error
    return proven(path, "decord", index, numbers, size, deadline, pictures, times_s[1:] - times_s[0])
