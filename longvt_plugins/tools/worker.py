"""Child process that decodes for ``executor``: requests on stdin, outcomes on stdout, one at a time.

Its death or hang costs one call. A message is a length (8 bytes), then as many bytes. Requests are pickles from
the parent; outcomes are JSON, because this side reads hostile files. Frames travel through the clip store, and after
the outcome as bytes only where the store does not have them: it is not shared, or they are too large for it.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from typing import BinaryIO

from longvt_plugins.video import clip_store, node_store

from .crop_video import crop_request

WORKER_MEMORY_BYTES = 16 << 20
"""Frames kept mapped here; the parent keeps its own."""


def read_message(stream: BinaryIO) -> bytes | None:
    """Next message, or ``None`` at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    return stream.read(struct.unpack("<Q", head)[0])


def write_message(stream: BinaryIO, *parts: bytes | memoryview) -> None:
    stream.write(struct.pack("<Q", sum(len(part) for part in parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def main() -> None:
    # Whatever a library prints goes to stderr; stdout carries messages alone.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    node_store.shared().memory_bytes = WORKER_MEMORY_BYTES
    write_message(replies, b"ready")
    while (message := read_message(requests)) is not None:
        outcome = crop_request(*pickle.loads(message))
        write_message(replies, outcome.model_dump_json().encode())
        unshared = outcome.media is not None and not clip_store.kept(outcome.media)
        write_message(replies, clip_store.get(outcome.media).data.cast("B") if unshared else b"")


if __name__ == "__main__":
    main()
