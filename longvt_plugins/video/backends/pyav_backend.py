"""Primary decoder: for each group of pictures with a wanted frame, decode from its keyframe to that frame.

1. Start at the keyframe's packet (``sources``) and feed packets in order. Pictures nothing refers to are skipped
   unless wanted: half the work in most files.
2. After the last wanted packet, drain the decoder instead of feeding it the packets its delay asks for.
3. Every wanted timestamp must have come out. If not, start one keyframe earlier and skip nothing, then from
   the first keyframe: open groups of pictures and gradual refresh need it.
4. Damage is an error, never concealed: what the demuxer, the packet's own syntax, or the decoder reports. Bytes
   changed so that they still parse cannot be told from the film.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby

import av
import numpy as np
from av.video.frame import VideoFrame

from longvt_plugins.errors import VideoDecodeError

from ..index import FrameIndex
from ..nal import syntax
from ..pixels import RgbConverter
from ..sources import DemuxedPackets, MappedPackets

SKIPPABLE = frozenset({"h264", "hevc"})
"""Codecs whose decoders leave other pictures untouched when non-reference ones are skipped packet by packet."""


def decode(
    path: str, index: FrameIndex, numbers: np.ndarray, size: tuple[int, int] | None, deadline: float | None = None
) -> np.ndarray:
    """Frames by display number: uint8 ``[len(numbers), height, width, 3]``, RGB.

    Raises:
        VideoOpenError: the file does not open.
        VideoDecodeError: a frame does not come out undamaged, or not before ``deadline`` (``time.monotonic``).
        IndexMismatch: ``index`` was read from tables that the demuxer understands differently.
    """
    positions = index.display[numbers]
    if len(index.display) < int(index.shown.sum()) and any(map(index.ambiguous, positions.tolist())):
        raise VideoDecodeError(path, "holds two frames for one moment that was asked for", "Remux or re-encode it.")
    source = (MappedPackets if index.samples else DemuxedPackets)(path, index)
    with source:
        reader = _Reader(path, index, source, RgbConverter(size, index.rotation), deadline)
        for _, group in groupby(zip(_keys(index, positions), positions, strict=True), key=lambda pair: pair[0]):
            reader.read_group([int(position) for _, position in group])
    pictures = [reader.taken[int(pts)] for pts in index.pts[positions]]
    if len({picture.shape for picture in pictures}) > 1:
        raise VideoDecodeError(path, "changes its size midway", "Give the size to return its frames in.")
    return np.stack(pictures)


def _keys(index: FrameIndex, positions: np.ndarray) -> list[int]:
    """For each packet, the keyframe to start from: the last one before it in decode and in display order."""
    keys = np.flatnonzero(index.key)
    found = np.searchsorted(keys, positions, side="right") - 1
    while (late := (index.pts[keys[found]] > index.pts[positions]) & (found > 0)).any():
        found = found - late
    return [int(key) for key in keys[found]]


class _Reader:
    """One open file and what has been taken from it."""

    def __init__(
        self,
        path: str,
        index: FrameIndex,
        source: DemuxedPackets | MappedPackets,
        convert: Callable[[VideoFrame], np.ndarray],
        deadline: float | None,
    ):
        self.path, self.index, self.source, self.codec = path, index, source, source.codec
        self.convert, self.deadline = convert, deadline
        self.taken: dict[int, np.ndarray] = {}
        self.skippable = self.codec.name in SKIPPABLE
        self.syntax = syntax(self.codec.name, self.codec.extradata)

    def read_group(self, positions: list[int]) -> None:
        """Take the frames of packets that share a keyframe."""
        keys = np.flatnonzero(self.index.key[: positions[0] + 1])
        own = int(np.searchsorted(keys, _keys(self.index, np.array(positions[:1]))[0]))
        damage = None
        for start, lean in ((own, True), (max(0, own - 1), False), (0, False)):
            try:
                self._attempt(int(keys[start]), positions, lean)
            except av.FFmpegError as error:
                if damage is not None:
                    break
                damage = error
            if all(int(self.index.pts[position]) in self.taken for position in positions):
                return
        missing = next(p for p in positions if int(self.index.pts[p]) not in self.taken)
        at = (self.index.pts[missing] - self.index.pts[self.index.display[0]]) * float(self.index.time_base)
        raise VideoDecodeError(
            self.path,
            f"the frame at {at:.3f} s does not come out undamaged",
            "Fetch the file again, or avoid this part.",
        ) from damage

    def _attempt(self, key: int, positions: list[int], lean: bool) -> None:
        """Decode from packet ``key`` on. ``lean``: skip what no wanted frame should need."""
        pts, dts = self.index.pts, self.index.dts
        pending = {int(pts[position]) for position in positions}
        wanted = frozenset(pending)
        key_pts, last_dts = int(pts[key]), int(dts[positions].max())
        packets = self.source.start_at(key, self._check_deadline)
        skip = lean and self.skippable
        try:
            for packet in packets:
                self._check_deadline()
                if packet.size == 0 or packet.pts is None or (lean and packet.pts < key_pts):
                    continue
                is_wanted = packet.pts in wanted
                if self.syntax:
                    data = bytes(packet)
                    if skip and not is_wanted and self.syntax.disposable(data):
                        continue
                    if packet.is_corrupt or not self.syntax.whole(data, is_wanted):
                        raise av.InvalidDataError(0, "the packet is not whole")
                if skip:
                    self.codec.skip_frame = "DEFAULT" if is_wanted else "NONREF"
                for frame in self.codec.decode(packet):
                    self._take(frame, wanted)
                pending.discard(packet.pts)
                if not pending or (packet.dts is not None and packet.dts > last_dts):
                    break
            for frame in self.codec.decode(None):
                self._take(frame, wanted)
        finally:
            self.codec.flush_buffers()
            self.codec.skip_frame = "DEFAULT"

    def _take(self, frame: VideoFrame, wanted: frozenset[int]) -> None:
        # True as well where the decoder painted a missing part from neighbouring pictures.
        if frame.is_corrupt:
            self._drop_from(frame.pts)
            raise av.InvalidDataError(0, "the decoder found damage")
        if frame.pts in wanted and frame.pts not in self.taken:
            self.taken[frame.pts] = self.convert(frame)

    def _drop_from(self, pts: int | None) -> None:
        """Forget frames decoded after a damaged one: shown before it, they may be made of it."""
        damaged = np.flatnonzero(self.index.pts == pts)
        first = int(damaged[0]) if len(damaged) else 0
        for later in self.index.pts[first:].tolist():
            self.taken.pop(later, None)

    def _check_deadline(self) -> None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise VideoDecodeError(
                self.path, "did not decode before the deadline", "Ask for a shorter window, or raise the deadline."
            )
