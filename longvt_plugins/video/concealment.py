"""Did the decoder make parts of this picture up? FFmpeg knows (``AVFrame.decode_error_flags``); PyAV does not tell.

A slice that ends early is no error to FFmpeg: the H.264 decoder paints the rest from neighbouring pictures and only
sets this flag. So it is read from the frame's memory, at the place where FFmpeg 7 keeps it, after everything
before it in the structure was found to say what PyAV says. On any other layout the answer is "not known", once in
the log, and such damage goes unseen.
"""

from __future__ import annotations

import ctypes
import logging

import av
from av.video.frame import VideoFrame

log = logging.getLogger(__name__)

LIBAVUTIL_MAJOR = 59
POINTER = object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
"""Where PyAV's frame object holds its ``AVFrame``: after Python's head and Cython's method table."""
WIDTH, HEIGHT, PTS, COLOR_RANGE, COLORSPACE, FLAGS = 104, 108, 136, 296, 308, 344

_known: bool | None = None


def concealed(frame: VideoFrame) -> bool:
    """Whether the decoder reports missing, damaged or invented parts. False where it cannot be known."""
    global _known
    if _known is None:
        _known = _layout_known(frame)
        if not _known:
            log.warning(
                "video: PyAV %s keeps frames in an unknown layout; concealed damage goes unseen", av.__version__
            )
    return _known and _int(_address(frame), FLAGS) != 0


def _layout_known(frame: VideoFrame) -> bool:
    if av.library_versions["libavutil"][0] != LIBAVUTIL_MAJOR or type(frame).__basicsize__ < POINTER + 8:
        return False
    address = _address(frame)
    plane = ctypes.c_void_p.from_address(address).value
    told = (frame.planes[0].buffer_ptr, frame.width, frame.height, frame.pts, frame.color_range, frame.colorspace)
    pts = ctypes.c_int64.from_address(address + PTS).value
    seen = (
        plane,
        *(_int(address, at) for at in (WIDTH, HEIGHT)),
        pts,
        *(_int(address, at) for at in (COLOR_RANGE, COLORSPACE)),
    )
    return tuple(map(int, told)) == seen and 0 <= _int(address, FLAGS) < 16


def _address(frame: VideoFrame) -> int:
    return ctypes.c_void_p.from_address(id(frame) + POINTER).value


def _int(address: int, offset: int) -> int:
    return ctypes.c_int.from_address(address + offset).value
