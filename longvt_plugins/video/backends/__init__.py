"""Decoders behind one signature: ``decode(path, index, numbers, size, deadline) -> pixels``.

``numbers`` are display numbers of the index, ascending and distinct; the result is uint8
``[len(numbers), height, width, 3]``. A backend proves that each frame is the one asked for, by its
presentation time, or raises: none returns a neighbour, a duplicate or a concealed picture. PyAV is the
default. The others are chosen by name, imported only then, and checked against it (``proof``).
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from longvt_plugins.errors import ConfigError

from ..index import FrameIndex

BACKENDS = ("pyav", "torchcodec", "opencv", "decord")


class Backend(Protocol):
    def __call__(
        self, path: str, index: FrameIndex, numbers: np.ndarray, size: tuple[int, int] | None, deadline: float | None
    ) -> np.ndarray: ...


def backend(name: str) -> Backend:
    """Decoder by name; its library is imported here and not before.

    Raises:
        ConfigError: no such backend, or its library is not installed.
    """
    if name not in BACKENDS:
        raise ConfigError(name, f"a video backend is one of {', '.join(BACKENDS)}", "Leave it unset for pyav.")
    try:
        return import_module(f"{__name__}.{name}_backend").decode
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(name, f"does not import ({error})", f"pip install {name}, or leave it unset.") from error
