"""Characters drawn into frames, and read back from pixels at any size by template matching.

A character fills a box of the frame, light on a dark panel, in Pillow's own font. The reader cuts the box out,
correlates it with every character that could be there, and says ``None`` where none fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = (128, 96)
DARK, LIGHT = 16, 240
LEAST_CORRELATION = 0.8
LEAST_CONTRAST = 30.0
"""Standard deviation of the grey levels, below which a box holds nothing: correlation would be of noise."""

Box = tuple[float, float, float, float]
"""Top, left, bottom, right, as shares of the frame."""


def draw(frame: np.ndarray, character: str, box: Box) -> None:
    """Draw into ``frame``, uint8 ``[height, width, 3]``, in place."""
    rows, columns = _slices(frame, box)
    frame[rows, columns] = panel(character, (rows.stop - rows.start, columns.stop - columns.start))[..., None]


def read(frame: np.ndarray, box: Box, characters: Iterable[str]) -> str | None:
    """Which of ``characters`` the box shows; ``None``: none of them.

    Args:
        frame: uint8 ``[height, width, 3]``, at any size.
    """
    rows, columns = _slices(frame, box)
    seen = frame[rows, columns].mean(axis=-1)
    if seen.std() < LEAST_CONTRAST:
        return None
    scores = {character: _correlation(seen, panel(character, seen.shape)) for character in characters}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] >= LEAST_CORRELATION else None


@cache
def panel(character: str, size: tuple[int, int]) -> np.ndarray:
    """uint8 ``[height, width]``, read-only."""
    height, width = CELL
    image = Image.new("L", (width, height), DARK)
    font = ImageFont.load_default(size=height)
    left, top, right, bottom = font.getbbox(character)
    at = ((width - right - left) / 2, (height - bottom - top) / 2)
    ImageDraw.Draw(image).text(at, character, fill=LIGHT, font=font)
    pixels = np.array(image.resize(size[::-1], Image.Resampling.BOX))
    pixels.setflags(write=False)
    return pixels


def _slices(frame: np.ndarray, box: Box) -> tuple[slice, slice]:
    height, width = frame.shape[:2]
    top, left, bottom, right = box
    return slice(round(top * height), round(bottom * height)), slice(round(left * width), round(right * width))


def _correlation(seen: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.corrcoef(seen.ravel(), wanted.ravel())[0, 1])
