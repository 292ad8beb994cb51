"""Where packets come from: the demuxer, or the places in the file that an mp4's tables name.

Opening a demuxer on an hour of video costs as much as decoding a second of it, on every crop. With the index known,
an H.264 or HEVC packet is a ``pread`` away, so plain mp4 files are read without one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain

import av
from av.codec.context import CodecContext
from av.packet import Packet

from longvt_plugins.errors import VideoOpenError

from .index import FrameIndex, IndexMismatch
from .packets import configure, opened

SEEK_MARGINS_S = (0.0, 2.0, 20.0)


class DemuxedPackets:
    """Packets by seeking. Context manager.

    Raises:
        VideoOpenError: on entering, when the file does not open.
        IndexMismatch: when ``index`` was read from tables that the demuxer understands differently.
    """

    def __init__(self, path: str, index: FrameIndex):
        self.index = index
        self._opened = opened(path, plain_edits=index.source == "tables")

    def __enter__(self) -> DemuxedPackets:
        self.container, self.stream = self._opened.__enter__()
        self.codec: CodecContext = self.stream.codec_context
        if self.index.source == "tables":
            start = int(self.index.pts[self.index.display[0]])
            told = (self.stream.time_base, self.stream.start_time, self.stream.frames)
            if told != (self.index.time_base, start, len(self.index.pts)):
                raise IndexMismatch
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(None, None, None)

    def start_at(self, key: int, tick: Callable[[], None]) -> Iterator[Packet]:
        """Packets from keyframe ``key`` on; none where it cannot be found. ``tick`` is called between packets."""
        key_pts, key_dts = int(self.index.pts[key]), int(self.index.dts[key])
        margins = [int(margin / self.index.time_base) for margin in SEEK_MARGINS_S]
        for target in [*(key_pts - margin for margin in margins), int(min(self.index.dts[0], self.index.pts[0]))]:
            self.container.seek(target, stream=self.stream, backward=True)
            packets = self.container.demux(self.stream)
            for packet in packets:
                tick()
                if packet.pts == key_pts and packet.is_keyframe:
                    return chain([packet], packets)
                # Some containers only seek to somewhere near, and late is no use.
                if packet.dts is not None and packet.dts > key_dts:
                    break
        if self.index.source == "tables":
            raise IndexMismatch
        return iter(())


class MappedPackets:
    """Packets by their places in the file. Context manager.

    Raises:
        VideoOpenError: on entering, when the file cannot be read or its decoder not set up.
    """

    def __init__(self, path: str, index: FrameIndex):
        self.path, self.index = path, index

    def __enter__(self) -> MappedPackets:
        try:
            self.codec = CodecContext.create(self.index.codec, "r")
            self.codec.extradata = self.index.samples.extradata
            configure(self.codec)
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise VideoOpenError(self.path, f"cannot be read ({error})", "Check its permissions.") from error
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._file)

    def start_at(self, key: int, tick: Callable[[], None]) -> Iterator[Packet]:
        """Packets from packet ``key`` on, until the file ends. ``tick`` is called between packets."""
        samples = self.index.samples
        for position in range(key, len(self.index.pts)):
            tick()
            size = int(samples.sizes[position])
            data = os.pread(self._file, size, int(samples.offsets[position]))
            if len(data) < size or not size:
                return
            packet = Packet(data)
            packet.pts, packet.dts = int(self.index.pts[position]), int(self.index.dts[position])
            yield packet
