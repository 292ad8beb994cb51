"""Frame index from the demuxer's own packets: any container, at the cost of reading the whole file once.

The first frame is decoded as well: it proves that a decoder exists, and carries the rotation that only some
containers state elsewhere. Files whose times are absent or run backwards have no frame times to speak of and
are refused, not guessed at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
from av.codec.context import CodecContext

from longvt_plugins.errors import VideoDecodeError, VideoOpenError

from .index import FrameIndex, decodable

MAX_PACKETS = 1 << 22
LOCAL_FILES = {
    "protocol_whitelist": "file",
    "format_whitelist": (
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpegtsraw,avi,flv,mpeg,mpegvideo,asf,ogg,h264,hevc,ivf,obu,mxf,nut,gif"
    ),
}
"""No playlist format and no network protocol: a text file must not make the demuxer open other files."""


@contextmanager
def opened(path: str, plain_edits: bool = False) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Container and video stream of a local file, with one decoder thread.

    Args:
        plain_edits: an mp4 known to show every frame; spares the demuxer half of its work at opening.

    Raises:
        VideoOpenError: the file does not open, or holds no video stream that can be decoded.
    """
    try:
        options = LOCAL_FILES | ({"advanced_editlist": "0"} if plain_edits else {})
        container = av.open(os.path.abspath(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoOpenError(path, f"does not open as a video ({_reason(error)})", "Re-encode or drop it.") from error
    with container:
        covers = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & covers]
        if not streams:
            raise VideoOpenError(path, "holds no video stream", "Name a video file.")
        stream = streams[0]
        if stream.codec_context is None:
            raise VideoOpenError(path, "is coded in a format PyAV cannot decode", "Re-encode it to H.264.")
        configure(stream.codec_context)
        yield container, stream


def configure(codec: CodecContext) -> None:
    """How every decoder here is set up, before it opens."""
    # Leaving a multi-threaded PyAV decode early can deadlock on the GIL, and one thread costs least CPU.
    codec.thread_count = 1
    # Damage must surface as an error: a concealed frame is a wrong frame.
    codec.options = {"err_detect": "explode"}


def scan_packets(path: str, deadline: float | None = None) -> FrameIndex:
    """Frame index by demuxing every packet.

    Args:
        deadline: ``time.monotonic`` at which to give up.

    Raises:
        VideoOpenError: not a video, or one without usable presentation times.
        VideoDecodeError: its packets were not read before the deadline, or its first frame does not come out.
    """
    with opened(path) as (container, stream):
        pts, dts, key, hidden, length = [], [], [], [], []
        try:
            for packet in container.demux(stream):
                if deadline is not None and time.monotonic() > deadline:
                    raise VideoDecodeError(path, "was not read before the deadline", "Remux it to mp4, or raise it.")
                if packet.size == 0:
                    continue
                if packet.pts is None:
                    raise VideoOpenError(path, "has packets without presentation times", "Remux it to mp4 or mkv.")
                if len(pts) == MAX_PACKETS:
                    raise VideoOpenError(path, f"has more than {MAX_PACKETS} packets", "Split it.")
                pts.append(packet.pts)
                dts.append(packet.dts if packet.dts is not None else (dts[-1] if dts else None))
                key.append(packet.is_keyframe)
                hidden.append(packet.is_discard)
                length.append(packet.duration or 0)
        except (av.FFmpegError, OSError):
            # A torn tail: what was read up to here is what there is.
            pass
        time_base = Fraction(stream.time_base)
        codec = stream.codec_context.codec.canonical_name
    if not pts:
        raise VideoOpenError(path, "holds no video packets", "Re-encode or drop it.")
    first_dts = next((value for value in dts if value is not None), min(pts))
    dts = [first_dts if value is None else value for value in dts]
    pts, dts, key = np.array(pts, np.int64), np.array(dts, np.int64), np.array(key, bool)
    shown = decodable(pts, key) & ~np.array(hidden, bool)
    if not shown.any():
        raise VideoOpenError(path, "holds no frame that can be shown", "Re-encode or drop it.")
    if (np.diff(dts) < 0).any():
        raise VideoOpenError(path, "has times that run backwards", "Remux it, or cut it where they do.")
    last = int(np.argmax(np.where(shown, pts, pts.min())))
    steps = np.diff(np.sort(pts[shown]))
    usual = np.median(steps) if len(steps) else 1 / (25 * time_base)
    end_pts = int(pts[last] + (length[last] or usual))
    size, rotation = _first_frame(path)
    return FrameIndex(pts, dts, key, shown, end_pts, time_base, size, rotation, codec, "packets")


def _first_frame(path: str) -> tuple[tuple[int, int], int]:
    """Displayed size and rotation."""
    with opened(path) as (container, stream):
        try:
            frame = next(container.decode(stream))
        except (av.FFmpegError, StopIteration) as error:
            raise VideoDecodeError(path, f"does not decode ({_reason(error)})", "Re-encode or drop it.") from error
        rotation = int(frame.rotation)
        size = (frame.height, frame.width)
    return (size if rotation % 180 == 0 else size[::-1]), rotation


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
