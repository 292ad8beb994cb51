"""Decoded picture -> RGB array: colour matrix, range, antialiased bicubic resize and rotation, in that order.

Conversion runs at full size and resizing afterwards, with Pillow's antialiased bicubic: the same filter as
torchvision's ``resize(BICUBIC, antialias=True)``, so pixels match models trained on it without importing torch.
"""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from PIL import Image

SWS_DEFAULT = 5
"""swscale's number for BT.601, which it assumes unless told."""


class RgbConverter:
    """Turns decoded frames of one video into RGB arrays; holds the conversion tables, so one per thread.

    Args:
        size: ``(height, width)`` of the result, as displayed; the frame's own when ``None``.
    """

    def __init__(self, size: tuple[int, int] | None):
        self.size = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """uint8 ``[height, width, 3]``, rotated as the file says."""
        # PyAV applies a frame's matrix and range only where source and target differ, so both are named.
        matrix = int(frame.colorspace)
        full = int(frame.color_range) == ColorRange.JPEG.value or frame.format.name.startswith("yuvj")
        rgb = self._reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=matrix if 0 < matrix <= 10 and matrix != 2 else SWS_DEFAULT,
            dst_colorspace=SWS_DEFAULT,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
        )
        return fit(rgb.to_ndarray(), self.size, int(frame.rotation))


def fit(rgb: np.ndarray, size: tuple[int, int] | None, rotation: int = 0) -> np.ndarray:
    """Resize and rotate one picture.

    Args:
        rgb: uint8 ``[height, width, 3]``, as coded.
        size: ``(height, width)`` after rotation; unchanged when ``None``.
        rotation: degrees counter-clockwise, multiple of 90.

    Returns:
        uint8 ``[height, width, 3]``.
    """
    if size is not None:
        height, width = size if rotation % 180 == 0 else size[::-1]
        if rgb.shape[:2] != (height, width):
            rgb = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))
    return np.rot90(rgb, rotation // 90) if rotation else rgb
