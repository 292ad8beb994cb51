"""``MediaRef`` in, pixels out: the only source of pixels in the package.

A clip is keyed by everything it depends on: file, content identity, frame times, size. It is decoded by one
thread of one process of the node; all others map the same file (``node_store``). ``$LONGVT_CLIP_STORE`` names
the directory (``off``: none), ``$LONGVT_CLIP_STORE_BYTES`` bounds it; ``status()`` tells how it fares.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from longvt_plugins.errors import VideoDecodeError, VideoOpenError
from longvt_plugins.types import MediaRef

from . import node_store
from .decode import read_frames
from .node_store import StoreStatus, configure
from .probe import content_identity
from .record import Record, make_record

__all__ = ["Clip", "StoreStatus", "configure", "get", "kept", "load", "put", "recall", "status"]


@dataclass(frozen=True, eq=False)
class Clip:
    pixels: np.ndarray
    """uint8 ``[n, height, width, 3]``, RGB, read-only."""
    digest: str
    """blake2b (16 bytes, hex) of the pixels' bytes."""
    cached: bool
    """Whether they were there, in this process or on the node."""


def get(ref: MediaRef) -> np.ndarray:
    """Pixels of ``ref``: read-only uint8 ``[n, height, width, 3]``, RGB.

    Raises:
        VideoOpenError: the file is gone, or is not the content the reference was made from.
        VideoDecodeError: the frames do not come out.
    """
    return load(ref).pixels


def load(ref: MediaRef, deadline_s: float | None = None) -> Clip:
    """Pixels of ``ref`` and their digest.

    Args:
        deadline_s: give up decoding, or waiting for another process that decodes, after this many seconds.

    Raises:
        VideoOpenError: the file is gone, or is not the content the reference was made from.
        VideoDecodeError: the frames do not come out, or not in time.
    """
    identity = content_identity(ref.path)
    if identity != ref.identity:
        raise VideoOpenError(ref.path, f"changed from {ref.identity} to {identity}", "Plan its frames again.")
    deadline = None if deadline_s is None else time.monotonic() + deadline_s
    cached = True

    def decode() -> Record:
        nonlocal cached
        cached = False
        return _decode(ref, deadline)

    record = node_store.shared().fetch(clip_key(ref), decode, deadline)
    return Clip(record.arrays["pixels"], record.digest, cached)


def recall(
    path: str, identity: str, question: object, answer: Callable[[], dict], deadline: float | None = None
) -> dict:
    """What ``answer`` gave to ``question`` about this content of ``path``: asked once per node.

    Args:
        question: its ``repr`` must say all that the answer depends on.
        answer: returns plain JSON. What it raises is raised, and asked again next time.
        deadline: ``time.monotonic`` until which to wait for another process that asks; then it is asked here.
    """
    key = blake2b(repr(["answer 1", path, identity, question]).encode(errors="surrogateescape"), digest_size=16)

    def ask() -> Record:
        # As an array, because a record's digest covers its arrays.
        return make_record({}, {"json": np.frombuffer(json.dumps(answer()).encode(), dtype=np.uint8)})

    return json.loads(node_store.shared().fetch(key.hexdigest(), ask, deadline).arrays["json"].tobytes())


def put(ref: MediaRef, pixels: np.ndarray) -> Clip:
    """Keep pixels that another process decoded for ``ref`` and could not share."""
    record = make_record({}, {"pixels": pixels})
    node_store.shared().remember(clip_key(ref), record)
    return Clip(record.arrays["pixels"], record.digest, cached=False)


def kept(ref: MediaRef) -> bool:
    """Whether the node has the pixels of ``ref``, for every process of it."""
    return node_store.shared().has(clip_key(ref))


def status() -> StoreStatus:
    return node_store.shared().status()


def clip_key(ref: MediaRef) -> str:
    parts = ["clip 1", ref.path, ref.identity, ref.times_s, ref.size]
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _decode(ref: MediaRef, deadline: float | None) -> Record:
    left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
    frames = read_frames(ref.path, ref.times_s, ref.size, deadline_s=left_s)
    if frames.times_s and not np.allclose(frames.times_s, ref.times_s, rtol=0, atol=1e-3):
        raise VideoDecodeError(
            ref.path, "shows frames at other times than the reference names", "Plan its frames again."
        )
    return make_record({}, {"pixels": frames.pixels})
