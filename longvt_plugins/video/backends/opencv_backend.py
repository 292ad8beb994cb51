"""OpenCV: counts frames from the start, because its seeks are not exact. Slow late in a file, right on any."""

from __future__ import annotations

import time

import cv2
import numpy as np

from longvt_plugins.errors import VideoDecodeError, VideoOpenError

from ..index import FrameIndex
from .proof import proven


def decode(
    path: str, index: FrameIndex, numbers: np.ndarray, size: tuple[int, int] | None, deadline: float | None = None
) -> np.ndarray:
    """Frames by display number: uint8 ``[len(numbers), height, width, 3]``, RGB.

    Raises:
        VideoOpenError: the file does not open.
        VideoDecodeError: a frame does not come out, or is another one, or not in time.
    """
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise VideoOpenError(path, "does not open with OpenCV", "Use pyav.")
    wanted, pictures, times_s, first_s = {int(number) for number in numbers}, [], [], 0.0
    try:
        for number in range(int(numbers[-1]) + 1):
            if deadline is not None and time.monotonic() > deadline:
                raise VideoDecodeError(path, "did not decode before the deadline", "Use pyav, or raise the deadline.")
            if not capture.grab():
                break
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            first_s = time_s if number == 0 else first_s
            if number in wanted:
                times_s.append(time_s - first_s)
                pictures.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if len(pictures) != len(numbers):
        raise VideoDecodeError(path, f"yields {len(pictures)} of {len(numbers)} frames through OpenCV", "Use pyav.")
    return proven(path, "OpenCV", index, numbers, size, deadline, np.stack(pictures), np.array(times_s))
