"""Decoded picture -> RGB array: colour matrix and range, then antialiased bicubic resize, then rotation.

Colours are converted at full size and the three planes resized apart, by swscale's bicubic filter with the
coefficient of Pillow's and torchvision's (its own differs): the pixels models were trained on, within rounding,
at a third of their time and without either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter

SWS_DEFAULT = 5
"""swscale's number for BT.601, which it assumes unless told."""
FILTER = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp:param0=0:param1=0.5"
"""Bicubic with a = -0.5, no plane at half resolution, rounding to nearest."""


class RgbConverter:
    """Turns decoded frames into RGB arrays; holds conversion tables, so one per thread.

    Args:
        size: ``(height, width)`` of the result, as displayed; the frame's own when ``None``.
        rotation: of the video, in degrees counter-clockwise, multiple of 90.
    """

    def __init__(self, size: tuple[int, int] | None, rotation: int = 0):
        self.size, self.rotation = size, rotation
        self._reformatter, self._packer = VideoReformatter(), VideoReformatter()
        self._scalers: dict[tuple[int, int, int, int], Graph] = {}

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        """uint8 ``[height, width, 3]``, upright."""
        # PyAV applies a frame's matrix and range only where source and target differ, so both are named.
        matrix = int(frame.colorspace)
        full = int(frame.color_range) == ColorRange.JPEG.value or frame.format.name.startswith("yuvj")
        height, width = self.size or (frame.height, frame.width)
        if self.rotation % 180 and self.size is not None:
            height, width = width, height
        resized = (frame.height, frame.width) != (height, width)
        picture = self._reformatter.reformat(
            frame,
            format="gbrp" if resized else "rgb24",
            src_colorspace=matrix if 0 < matrix <= 10 and matrix != 2 else SWS_DEFAULT,
            dst_colorspace=SWS_DEFAULT,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
        )
        if resized:
            scaler = self._scaler(frame.height, frame.width, height, width)
            scaler.push(picture)
            picture = self._packer.reformat(scaler.pull(), format="rgb24")
        rgb = picture.to_ndarray()
        return np.rot90(rgb, self.rotation // 90) if self.rotation else rgb

    def resize(self, rgb: np.ndarray) -> np.ndarray:
        """The same for a picture that is RGB already and upright: uint8 ``[height, width, 3]``."""
        return self(VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24"))

    def _scaler(self, *sizes: int) -> Graph:
        if sizes not in self._scalers:
            height, width, to_height, to_width = sizes
            graph = Graph()
            source = graph.add_buffer(width=width, height=height, format="gbrp", time_base=Fraction(1, 1000))
            scale = graph.add("scale", f"{to_width}:{to_height}:{FILTER}")
            sink = graph.add("buffersink")
            source.link_to(scale)
            scale.link_to(sink)
            with _one_core():
                graph.configure()
            self._scalers[sizes] = graph
        return self._scalers[sizes]


@contextmanager
def _one_core() -> Iterator[None]:
    """FFmpeg starts a thread per core that this thread may use for every graph, and PyAV has no say in it."""
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)
