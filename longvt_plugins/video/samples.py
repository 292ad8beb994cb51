"""Where each sample of an mp4 track lies in the file: chunks (stco, co64), samples per chunk (stsc), sizes (stsz).

Only for streams whose decoder needs nothing that the container alone says, colours for one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

MAX_SAMPLE_BYTES = 64 << 20
CONFIGURATIONS = {b"avc1": b"avcC", b"avc3": b"avcC", b"hvc1": b"hvcC", b"hev1": b"hvcC"}


@dataclass(frozen=True, eq=False)
class SampleMap:
    """Attributes:
    offsets, sizes: int64 ``[num_packets]``, bytes.
    extradata: the decoder's configuration.
    """

    offsets: np.ndarray
    sizes: np.ndarray
    extradata: bytes


def sample_sizes(stbl: dict[bytes, memoryview], count: int) -> np.ndarray | None:
    """int64 ``[count]``, or ``None`` for the rare compact table."""
    if b"stsz" not in stbl:
        return None
    uniform = struct.unpack_from(">I", stbl[b"stsz"], 4)[0]
    if uniform:
        return np.full(count, uniform, dtype=np.int64)
    if 12 + 4 * count > len(stbl[b"stsz"]):
        return None
    return np.frombuffer(stbl[b"stsz"], ">u4", count, 12).astype(np.int64)


def sample_map(stbl: dict[bytes, memoryview], count: int, file_size: int) -> SampleMap | None:
    """Map of a track, or ``None`` where only the demuxer knows all that the decoder needs.

    Args:
        stbl: boxes of the sample table, their bodies by kind.
        count: samples of the track.
    """
    configuration = _configuration(stbl[b"stsd"])
    sizes = sample_sizes(stbl, count)
    chunks = _chunk_offsets(stbl)
    if configuration is None or sizes is None or chunks is None or b"stsc" not in stbl:
        return None
    entries = struct.unpack_from(">I", stbl[b"stsc"], 4)[0]
    if not 0 < entries <= len(chunks) or 8 + 12 * entries > len(stbl[b"stsc"]):
        return None
    runs = np.frombuffer(stbl[b"stsc"], ">u4", 3 * entries, 8).reshape(entries, 3).astype(np.int64)
    lengths = np.diff(np.append(runs[:, 0], len(chunks) + 1))
    if runs[0, 0] != 1 or (lengths < 1).any() or lengths @ runs[:, 1] != count:
        return None
    per_chunk = np.repeat(runs[:, 1], lengths)
    ends = np.cumsum(sizes)
    firsts = np.cumsum(per_chunk) - per_chunk
    before = np.append(0, ends)[firsts]
    offsets = np.repeat(chunks - before, per_chunk) + ends - sizes
    if sizes.max() > MAX_SAMPLE_BYTES or offsets.min() < 0 or chunks.max() > file_size * 16:
        return None
    return SampleMap(offsets, sizes, configuration)


def _chunk_offsets(stbl: dict[bytes, memoryview]) -> np.ndarray | None:
    for kind, dtype, width in ((b"stco", ">u4", 4), (b"co64", ">u8", 8)):
        if kind in stbl:
            count = struct.unpack_from(">I", stbl[kind], 4)[0]
            if count and 8 + width * count <= len(stbl[kind]):
                return np.frombuffer(stbl[kind], dtype, count, 8).astype(np.int64)
    return None


def _configuration(stsd: memoryview) -> bytes | None:
    """avcC or hvcC of the one sample description, unless it carries colours or protection as well."""
    wanted = CONFIGURATIONS.get(bytes(stsd[12:16]))
    found, position = None, 94
    while wanted and position + 8 <= len(stsd):
        length, kind = struct.unpack_from(">I4s", stsd, position)
        if length < 8 or position + length > len(stsd) or kind in (b"colr", b"sinf"):
            return None
        if kind == wanted:
            found = bytes(stsd[position + 8 : position + length])
        position += length
    return found
