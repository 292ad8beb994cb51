"""``MediaRef`` in, pixels out: the only source of pixels in the package, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from longvt_plugins.errors import VideoOpenError
from longvt_plugins.types import MediaRef

from .decode import read_frames
from .probe import content_identity

MAX_BYTES = 512 << 20

_lock = threading.Lock()
_clips: OrderedDict[MediaRef, np.ndarray] = OrderedDict()


def get(ref: MediaRef) -> np.ndarray:
    """Pixels of ``ref``: read-only uint8 ``[n, height, width, 3]``, RGB.

    Raises:
        VideoOpenError: the file is gone, or is not the content the reference was made from.
        VideoDecodeError: the frames do not come out.
    """
    with _lock:
        if ref in _clips:
            _clips.move_to_end(ref)
            return _clips[ref]
    identity = content_identity(ref.path)
    if identity != ref.identity:
        raise VideoOpenError(ref.path, f"changed from {ref.identity} to {identity}", "Plan its frames again.")
    pixels = read_frames(ref.path, ref.times_s, ref.size).pixels
    pixels.setflags(write=False)
    with _lock:
        _clips[ref] = pixels
        while sum(clip.nbytes for clip in _clips.values()) > MAX_BYTES and len(_clips) > 1:
            _clips.popitem(last=False)
    return pixels
