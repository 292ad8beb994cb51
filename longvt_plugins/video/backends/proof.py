"""What the foreign decoders must prove before their frames are believed.

Their libraries seek inexactly in some files and conceal damage in all, without a word. So each picture is held
against PyAV's of the same frame: they are a second opinion, at twice the cost, and never a silent one.
"""

from __future__ import annotations

import numpy as np

from longvt_plugins.errors import VideoDecodeError

from ..index import FrameIndex
from ..pixels import RgbConverter
from . import pyav_backend

TOLERANCE_S = 2e-3
"""These libraries tell times in milliseconds or single precision."""
MAX_DIFFERENCE = 4.0
"""Mean absolute difference of one picture. Other roundings of one frame stay below it, other scenes do not."""


def proven(
    path: str,
    name: str,
    index: FrameIndex,
    numbers: np.ndarray,
    size: tuple[int, int] | None,
    deadline: float | None,
    pictures: np.ndarray,
    times_s: np.ndarray,
) -> np.ndarray:
    """Pictures of a foreign decoder, resized, if they are the frames asked for.

    Args:
        pictures: uint8 ``[n, height, width, 3]``, as displayed.
        times_s: float ``[n]``, what the library says of them, from its first frame.

    Raises:
        VideoDecodeError: a frame is missing, or another one, or damaged.
    """
    expected = index.times_s[numbers]
    if len(times_s) != len(expected) or not np.allclose(times_s, expected, rtol=0, atol=TOLERANCE_S):
        raise VideoDecodeError(path, f"shows other frames through {name} than its packets say", "Use pyav.")
    resized = np.stack([*map(RgbConverter(size).resize, pictures)])
    truth = pyav_backend.decode(path, index, numbers, size, deadline)
    if resized.shape != truth.shape or not all(map(_alike, resized, truth)):
        raise VideoDecodeError(path, f"shows other pictures through {name} than it holds", "Use pyav.")
    return resized


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    return float(np.abs(one.astype(np.int16) - other).mean()) <= MAX_DIFFERENCE
