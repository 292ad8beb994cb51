"""Frame index of an mp4 from its sample tables, in milliseconds: no packet is read.

``moov/trak/mdia/minf/stbl`` holds, run-length coded, the decode times (stts), the offsets from decode to
presentation (ctts) and the keyframes (stss); ``edts/elst`` shifts the whole. The reader vouches only for what
it understands in full: one sample description, no fragments, one edit that shows every frame. For anything
else, and for any table that contradicts another, it returns ``None`` and the caller scans packets instead.
Files are hostile input: every size and count is checked before memory is taken for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np

from .index import FrameIndex, decodable
from .samples import sample_map, sample_sizes

MAX_TABLE_BYTES = 64 << 20
MAX_SAMPLES = 1 << 22
MAX_BOXES = 4096
MAX_TIMESCALE = 10_000_000
CODECS = {
    b"avc1": "h264",
    b"avc3": "h264",
    b"hvc1": "hevc",
    b"hev1": "hevc",
    b"vp09": "vp9",
    b"av01": "av1",
    b"mp4v": "mpeg4",
}
ROTATIONS = {(1, 0, 0, 1): 0, (0, 1, -1, 0): -90, (-1, 0, 0, -1): 180, (0, -1, 1, 0): 90}
"""Signs of the tkhd matrix's (a, b, c, d) to degrees counter-clockwise."""


class Unreadable(Exception):
    """The tables are not of the plain kind this reader vouches for."""


def read_tables(path: str) -> FrameIndex | None:
    """Frame index of the first video track, or ``None`` where only a packet scan can tell.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        try:
            moov = _find_moov(file, size)
            return _index(moov, size) if moov is not None else None
        except (Unreadable, struct.error, ValueError, IndexError, OverflowError, ZeroDivisionError):
            return None


def _find_moov(file: BinaryIO, end: int) -> memoryview | None:
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > end:
            return None
        file.seek(position)
        header = file.read(16)
        length, kind = struct.unpack_from(">I4s", header)
        skip = 8
        if length == 1:
            length, skip = struct.unpack_from(">Q", header, 8)[0], 16
        elif length == 0:
            length = end - position
        if length < skip or (position == 0 and not kind.isalnum()):
            return None
        if kind == b"moov":
            if position + length > end or length > MAX_TABLE_BYTES:
                return None
            file.seek(position + skip)
            return memoryview(file.read(length - skip))
        if kind == b"moof":
            return None
        position += length
    return None


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 0
    for _ in range(MAX_BOXES):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        skip = 8
        if length == 1:
            length, skip = struct.unpack_from(">Q", data, position + 8)[0], 16
        elif length == 0:
            length = len(data) - position
        if length < skip or position + length > len(data):
            raise Unreadable(kind)
        yield kind, data[position + skip : position + length]
        position += length
    raise Unreadable("too many boxes")


def _children(data: memoryview) -> dict[bytes, memoryview]:
    """First box of each kind."""
    found: dict[bytes, memoryview] = {}
    for kind, body in _boxes(data):
        found.setdefault(kind, body)
    return found


def _index(moov: memoryview, file_size: int) -> FrameIndex:
    boxes = list(_boxes(moov))
    if any(kind == b"mvex" for kind, _ in boxes):
        raise Unreadable("fragmented")
    header = next((body for kind, body in boxes if kind == b"mvhd"), None)
    if header is None:
        raise Unreadable("no movie header")
    movie_timescale = _timescale(header)
    for kind, body in boxes:
        if kind == b"trak":
            trak = _children(body)
            mdia = _children(trak[b"mdia"]) if b"mdia" in trak else {}
            if bytes(mdia.get(b"hdlr", b"")[8:12]) == b"vide":
                return _track_index(trak, mdia, movie_timescale, file_size)
    raise Unreadable("no video track")


def _timescale(body: memoryview) -> int:
    """Units per second of an mvhd or mdhd box."""
    value = struct.unpack_from(">I", body, 20 if body[0] == 1 else 12)[0]
    if not 0 < value <= MAX_TIMESCALE:
        raise Unreadable("timescale")
    return value


def _track_index(trak: dict, mdia: dict, movie_timescale: int, file_size: int) -> FrameIndex:
    if not {b"tkhd"} <= trak.keys() or not {b"mdhd", b"minf"} <= mdia.keys():
        raise Unreadable("boxes missing")
    stbl = _children(_children(mdia[b"minf"]).get(b"stbl", memoryview(b"")))
    if not {b"stsd", b"stts"} <= stbl.keys():
        raise Unreadable("tables missing")
    timescale = _timescale(mdia[b"mdhd"])
    samples = _sample_count(stbl, min(file_size, MAX_SAMPLES))
    sizes = sample_sizes(stbl, samples)
    if sizes is not None and not sizes.all():
        # Shows nothing, and is no packet to a demuxer.
        raise Unreadable("an empty sample")
    runs = _table(stbl[b"stts"], ">u4", 2)
    if (runs[:, 1] >= 1 << 31).any() or runs[:, 0].sum() != samples:
        raise Unreadable("stts")
    steps = np.repeat(runs[:, 1], runs[:, 0])
    if b"ctts" in stbl:
        offsets = _table(stbl[b"ctts"], ">i4", 2)
        counts = offsets[:, 0] & 0xFFFFFFFF
        if counts.sum() != samples or (np.abs(offsets[:, 1]) >= 1 << 28).any():
            raise Unreadable("ctts")
        offset = np.repeat(offsets[:, 1], counts)
    else:
        offset = np.zeros(samples, dtype=np.int64)
    if float(steps.sum(dtype=np.float64)) >= 2.0**52:
        raise Unreadable("times overflow")
    dts = np.cumsum(steps) - steps
    pts = dts + offset
    last = int(np.argmax(pts))
    start = _edit_shift(trak, pts, last, timescale, movie_timescale)
    key = _keyframes(stbl, samples)
    codec, size = _description(stbl[b"stsd"])
    rotation = _rotation(trak[b"tkhd"])
    return FrameIndex(
        pts=pts + start,
        dts=dts + start,
        key=key,
        shown=decodable(pts, key),
        end_pts=int(pts[last] + start + max(1, steps[last])),
        time_base=Fraction(1, timescale),
        size=size if rotation % 180 == 0 else size[::-1],
        rotation=rotation,
        codec=codec,
        source="tables",
        samples=sample_map(stbl, samples, file_size),
    )


def _table(body: memoryview, dtype: str, columns: int) -> np.ndarray:
    """Rows of a counted table: int64 ``[entries, columns]``."""
    entries = struct.unpack_from(">I", body, 4)[0]
    if 8 + entries * columns * 4 > len(body):
        raise Unreadable("table longer than its box")
    rows = np.frombuffer(body, dtype=dtype, count=entries * columns, offset=8)
    return rows.reshape(entries, columns).astype(np.int64)


def _sample_count(stbl: dict, max_samples: int) -> int:
    for kind in (b"stsz", b"stz2"):
        if kind in stbl:
            count = struct.unpack_from(">I", stbl[kind], 8)[0]
            if 0 < count <= max_samples:
                return count
    raise Unreadable("sample count")


def _keyframes(stbl: dict, samples: int) -> np.ndarray:
    if b"stss" not in stbl:
        return np.ones(samples, dtype=bool)
    numbers = _table(stbl[b"stss"], ">u4", 1)[:, 0]
    if len(numbers) == 0 or numbers.min() < 1 or numbers.max() > samples:
        raise Unreadable("stss")
    key = np.zeros(samples, dtype=bool)
    key[numbers - 1] = True
    return key


def _edit_shift(trak: dict, pts: np.ndarray, last: int, timescale: int, movie_timescale: int) -> int:
    """What the edit list adds to every time: leading empty edits, then one edit that shows every frame."""
    elst = _children(trak[b"edts"]).get(b"elst") if b"edts" in trak else None
    if elst is None:
        return 0
    entry = ">QqI" if elst[0] == 1 else ">IiI"
    count = struct.unpack_from(">I", elst, 4)[0]
    if not 0 < count <= 16:
        raise Unreadable("elst")
    width, empty = struct.calcsize(entry), 0
    for number in range(count):
        duration, media_time, rate = struct.unpack_from(entry, elst, 8 + number * width)
        if media_time == -1 and number < count - 1:
            empty += duration
            continue
        shows_all = duration == 0 or duration * timescale // movie_timescale > int(pts[last]) - media_time
        if number != count - 1 or rate != 0x10000 or media_time != int(pts.min()) or not shows_all:
            raise Unreadable("edit list")
        return empty * timescale // movie_timescale - media_time
    raise Unreadable("edit list")


def _description(stsd: memoryview) -> tuple[str, tuple[int, int]]:
    if struct.unpack_from(">I", stsd, 4)[0] != 1:
        raise Unreadable("several sample descriptions")
    kind = bytes(stsd[12:16])
    width, height = struct.unpack_from(">HH", stsd, 40)
    if kind not in CODECS or not width or not height:
        raise Unreadable("codec or size")
    return CODECS[kind], (height, width)


def _rotation(tkhd: memoryview) -> int:
    a, b, _, c, d = struct.unpack_from(">5i", tkhd, 52 if tkhd[0] == 1 else 40)
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    if signs not in ROTATIONS:
        raise Unreadable("display matrix")
    return ROTATIONS[signs]
