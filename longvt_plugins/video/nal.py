"""Holes in H.264 and HEVC packets: bytes that no encoder writes, which decoders swallow without an error.

Inside a unit of coded picture data, two zero bytes are never followed by 0, 1 or 2: encoders put a 3 there, so
that a start code is one. Lost sectors, sparse files and interrupted downloads read as runs of zeros and break
the rule. The lengths of a packet's units must add up as well. Other damage is the decoder's to find.
"""

from __future__ import annotations

from collections.abc import Iterator

HOLE = bytes(16)
MAX_PADDING = 32
"""Zeros after a unit: some encoders align with them."""


class StartCodes:
    """Units divided by start codes, as in MPEG-TS: zeros may stand before one, so only a long run is a hole."""

    def whole(self, packet: bytes, wanted: bool) -> bool:
        return HOLE not in packet

    def disposable(self, packet: bytes) -> bool:
        return False


class LengthPrefixes:
    """Units that each state their length first, as in mp4 and mkv."""

    def __init__(self, hevc: bool, length_size: int):
        self.length_size = length_size
        self.is_picture = _hevc_picture if hevc else _h264_picture
        self.is_reference = _hevc_reference if hevc else _h264_reference

    def whole(self, packet: bytes, wanted: bool) -> bool:
        """Whether the packet has no hole. One that is not ``wanted`` may have, where nothing refers to it."""
        for unit in _units(packet, self.length_size):
            if unit is None:
                return False
            if self.is_picture(unit) and (wanted or self.is_reference(unit)):
                body = unit.rstrip(b"\0")
                if len(unit) - len(body) > MAX_PADDING or _has_hole(body):
                    return False
        return True

    def disposable(self, packet: bytes) -> bool:
        """Whether the packet is a picture that no other refers to, and nothing else."""
        units = list(_units(packet, self.length_size))
        pictures = [unit for unit in units if unit and self.is_picture(unit)]
        return bool(pictures) and None not in units and not any(map(self.is_reference, pictures))


def syntax(codec: str, extradata: bytes | None) -> LengthPrefixes | StartCodes | None:
    """What a stream's packets look like; ``None`` for codecs that may write anything."""
    if codec not in ("h264", "hevc"):
        return None
    length_at = 21 if codec == "hevc" else 4
    if extradata and extradata[0] == 1 and len(extradata) > length_at:
        return LengthPrefixes(codec == "hevc", (extradata[length_at] & 3) + 1)
    return StartCodes()


def _units(packet: bytes, length_size: int) -> Iterator[bytes | None]:
    """Units of a packet; ``None`` in place of one that does not fit."""
    position = 0
    while position < len(packet):
        start = position + length_size
        position = start + int.from_bytes(packet[position:start], "big")
        if position > len(packet) or position == start:
            yield None
            return
        yield packet[start:position]


def _has_hole(unit: bytes) -> bool:
    at = unit.find(b"\0\0")
    while at >= 0:
        if unit[at + 2 : at + 3] < b"\3":
            return True
        at = unit.find(b"\0\0", at + 2)
    return False


def _h264_picture(unit: bytes) -> bool:
    return 1 <= unit[0] & 31 <= 5


def _h264_reference(unit: bytes) -> bool:
    return bool(unit[0] & 0x60)


def _hevc_picture(unit: bytes) -> bool:
    return unit[0] >> 1 & 63 < 32


def _hevc_reference(unit: bytes) -> bool:
    kind = unit[0] >> 1 & 63
    return kind > 14 or kind % 2 == 1
