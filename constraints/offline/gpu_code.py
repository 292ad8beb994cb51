"""Keep the GPU code of one generation in a CUDA library.

A library built for several generations embeds "fat binaries": a header, then one entry per generation, either machine
code (cubin: runs on its major generation, from its minor number on) or PTX (which the driver compiles for its
architecture or a later one). A GPU loads one entry of them. The payload of the others is overwritten with zeros here:
size and offsets stay, so the file stays valid, and zeros compress to nothing. Layout, little-endian:

    container: u32 magic, u16 version = 1, u16 header bytes = 16, u64 bytes of all entries
    entry:     u16 kind (1 PTX, 2 machine code), u16, u32 header bytes, u64 payload bytes, ..., at 28: u32 architecture
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, 16)
PTX, MACHINE = 1, 2
ARCHITECTURE_AT, LEAST_ENTRY = 28, 48


class Entry(NamedTuple):
    kind: int
    architecture: int
    start: int
    size: int


def containers(library: bytes | bytearray) -> list[list[Entry]]:
    """Entries of each fat binary."""
    found, position = [], library.find(MAGIC)
    while position >= 0:
        (size,) = struct.unpack_from("<Q", library, position + 8)
        start, end = position + 16, position + 16 + size
        entries = _entries(library, start, end) if end <= len(library) else None
        if entries is not None:
            found.append(entries)
        position = library.find(MAGIC, position + 16 if entries is None else end)
    return found


def _entries(library: bytes | bytearray, start: int, end: int) -> list[Entry] | None:
    """``None``: these bytes only look like a container."""
    entries = []
    while start + LEAST_ENTRY <= end:
        kind, _, header, size = struct.unpack_from("<HHIQ", library, start)
        (architecture,) = struct.unpack_from("<I", library, start + ARCHITECTURE_AT)
        if kind not in (PTX, MACHINE) or header < LEAST_ENTRY or start + header + size > end:
            return None
        entries.append(Entry(kind, architecture, start + header, size))
        start += header + size
    return entries


def keep_one(library: bytearray, architecture: int) -> tuple[int, int]:
    """Zero, in place, what a GPU of ``architecture`` (90: H100, H200) does not load.

    The newest machine code that it runs (same major number, no greater minor) stays; where a container has none, the
    newest PTX that it can compile does.

    Returns:
        Bytes of GPU code before and after.
    """
    before = after = 0
    for entries in containers(library):
        usable = [e for e in entries if e.architecture <= architecture]
        machine = [e for e in usable if e.kind == MACHINE and e.architecture // 10 == architecture // 10]
        candidates = machine or [e for e in usable if e.kind == PTX]
        newest = max((e.architecture for e in candidates), default=None)
        for entry in entries:
            before += entry.size
            if entry in candidates and entry.architecture == newest:
                after += entry.size
            else:
                library[entry.start : entry.start + entry.size] = bytes(entry.size)
    return before, after
