"""Holes in H.264 and HEVC packets: bytes that no encoder writes, which decoders swallow without an error.

Inside a unit of coded picture data, two zero bytes are never followed by 0, 1 or 2: encoders put a 3 there, so
that a start code is one. Lost sectors, sparse files and interrupted downloads read as runs of zeros and break
the rule. The lengths of a packet's units must add up as well. Other damage is the decoder's to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

HOLE = bytes(16)
MAX_PADDING = 32
"""Zeros after a unit: some encoders align with them."""

Check = Callable[[bytes, bool], bool]
"""``(packet, wanted) -> whether it is whole``; an unwanted packet may be broken where nothing refers to it."""


def checker(codec: str, extradata: bytes | None) -> Check | None:
    """The check for a stream, or ``None`` for codecs that may write anything."""
    if codec == "h264" and extradata and extradata[0] == 1 and len(extradata) > 6:
        length_size, is_picture, is_reference = (extradata[4] & 3) + 1, _h264_picture, _h264_reference
    elif codec == "hevc" and extradata and extradata[0] == 1 and len(extradata) > 22:
        length_size, is_picture, is_reference = (extradata[21] & 3) + 1, _hevc_picture, _hevc_reference
    elif codec in ("h264", "hevc"):
        # Start codes divide these units, and zeros may stand before one: only a long run is a hole.
        return lambda packet, wanted: HOLE not in packet
    else:
        return None

    def whole(packet: bytes, wanted: bool) -> bool:
        for unit in _units(packet, length_size):
            if unit is None:
                return False
            if is_picture(unit) and (wanted or is_reference(unit)):
                body = unit.rstrip(b"\0")
                if len(unit) - len(body) > MAX_PADDING or _has_hole(body):
                    return False
        return True

    return whole


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
