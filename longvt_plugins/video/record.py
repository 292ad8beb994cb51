"""Named arrays with a digest, as one file that maps into memory.

The layout is a length, a JSON header, then the arrays at multiples of 64 bytes. A record whose bytes do not give
the digest in its header is not a record.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np


@dataclass(frozen=True, eq=False)
class Record:
    meta: dict
    arrays: Mapping[str, np.ndarray]
    """Read-only."""
    digest: str
    """blake2b (16 bytes, hex) of the arrays' bytes in order."""

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


def make_record(meta: dict, arrays: Mapping[str, np.ndarray]) -> Record:
    """Record of contiguous, read-only arrays, with its digest."""
    kept = {}
    for name, array in arrays.items():
        kept[name] = np.ascontiguousarray(array)
        kept[name].setflags(write=False)
    digest = blake2b(digest_size=16)
    for array in kept.values():
        digest.update(array.data.cast("B") if array.nbytes else b"")
    return Record(meta, kept, digest.hexdigest())


def encode_record(record: Record) -> Iterator[bytes | memoryview]:
    """Header length, header (JSON), then the arrays, each at a multiple of 64 bytes."""
    layout = [[name, array.dtype.str, array.shape] for name, array in record.arrays.items()]
    header = json.dumps({"digest": record.digest, "meta": record.meta, "arrays": layout}).encode()
    header += b" " * (-(len(header) + 8) % 64)
    yield struct.pack("<Q", len(header))
    yield header
    for array in record.arrays.values():
        if array.nbytes:
            yield array.data.cast("B")
        yield bytes(-array.nbytes % 64)


def decode_record(data: mmap.mmap) -> Record | None:
    """Record over ``data`` without copying it, or ``None`` if it is not whole."""
    try:
        end = 8 + struct.unpack_from("<Q", data)[0]
        header = json.loads(data[8:end])
        arrays, digest = {}, blake2b(digest_size=16)
        for name, dtype, shape in header["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            array = np.frombuffer(data, dtype=dtype, count=count, offset=end).reshape(shape)
            digest.update(array.data.cast("B") if array.nbytes else b"")
            arrays[name] = array
            end += array.nbytes + (-array.nbytes % 64)
        if digest.hexdigest() != header["digest"]:
            return None
        return Record(header["meta"], arrays, header["digest"])
    except (ValueError, KeyError, TypeError, struct.error):
        return None
