"""Which frames, at which size: timestamps for a window or an overview, within budgets.

Two rules choose frames. ``"display"``, the default, cuts the window into equal parts and takes the frame on
display at the middle of each, by true time: right for any frame rate. ``"index"`` is LongVT's own rule, by frame
number at the average rate: the same frames as qwen-vl-utils, and so at wrong times where the rate varies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

import numpy as np

from longvt_plugins.errors import ConfigError, VideoRangeError

from .probe import VideoInfo


@dataclass(frozen=True)
class SamplingPolicy:
    """How densely and how large to sample.

    Attributes:
        fps: frames per second wanted inside the window.
        min_frames, max_frames: bounds on the count; the video's own frames bound it too.
        max_pixels: height * width of one frame at most.
        min_pixels: height * width at least; smaller videos are enlarged. Where no multiple of ``patch`` ** 2 lies
            between the bounds, this one holds.
        patch: both sides are multiples of it (patch size x spatial merge: 28 for Qwen2.5-VL, 32 for Qwen3-VL).
        rule: ``"display"`` by true time, or ``"index"`` for the frames LongVT was trained on.

    Raises:
        ConfigError: a bound that no sampling can satisfy.
    """

    fps: float = 1.0
    min_frames: int = 2
    max_frames: int = 32
    max_pixels: int = 50_176
    patch: int = 28
    min_pixels: int = 3_136
    rule: Literal["display", "index"] = "display"

    def __post_init__(self):
        for name in ("min_frames", "max_frames", "max_pixels", "patch", "min_pixels"):
            check_number(name, getattr(self, name), Integral)
        check_number("fps", self.fps, Real)
        checks = {
            "fps": math.isfinite(self.fps) and self.fps > 0,
            "min_frames": self.min_frames >= 1,
            "max_frames": self.max_frames >= max(self.min_frames, 2 if self.rule == "index" else 1),
            "patch": self.patch >= 1,
            "max_pixels": self.max_pixels >= self.patch**2,
            "min_pixels": 0 <= self.min_pixels <= self.max_pixels,
            "rule": self.rule in ("display", "index"),
        }
        for name, holds in checks.items():
            if not holds:
                rule = "fps > 0, 1 <= min_frames <= max_frames, min_pixels <= max_pixels, max_pixels >= patch ** 2"
                raise ConfigError(f"{name}={getattr(self, name)!r}", f"a sampling policy needs {rule}", "Change it.")

    @property
    def least_patches(self) -> int:
        """Of one frame."""
        return _patches(self.min_pixels, self.max_pixels, self.patch)[0]

    @property
    def most_patches(self) -> int:
        """Of one frame."""
        return _patches(self.min_pixels, self.max_pixels, self.patch)[1]


def check_number(name: str, value: object, kind: type[Integral] | type[Real]) -> None:
    """Raises:
    ConfigError: ``value`` is not a whole number (``Integral``), or not a number (``Real``).
    """
    if isinstance(value, bool) or not isinstance(value, kind):
        what = "a whole number" if kind is Integral else "a number"
        raise ConfigError(f"{name}={value!r}", f"must be {what}", "Change it.")


@dataclass(frozen=True)
class FramePlan:
    times_s: tuple[float, ...]
    """True presentation times, ascending and distinct."""
    size: tuple[int, int]
    """``(height, width)`` in pixels."""


def fit_size(size: tuple[int, int], max_pixels: int, patch: int, min_pixels: int = 0) -> tuple[int, int]:
    """Size to sample at: sides in multiples of ``patch``, area within the bounds, aspect ratio nearly kept.

    The sizes are those the Qwen processors would choose, so they leave such frames as they are. Where rounding to
    patches takes those out of the bounds (bounds close together, long and thin frames), it is the size between them
    whose shape is nearest.
    """
    least, most = _patches(min_pixels, max_pixels, patch)
    rows, columns = (max(1, round(side / patch)) for side in size)
    if rows * columns > most:
        scale = math.sqrt(size[0] * size[1] / max_pixels)
        rows, columns = (max(1, math.floor(side / scale / patch)) for side in size)
    elif rows * columns < least:
        scale = math.sqrt(min_pixels / (size[0] * size[1]))
        rows, columns = (math.ceil(side * scale / patch) for side in size)
    if not least <= rows * columns <= most:
        rows, columns = _nearest_shape(size[1] / size[0], least, most)
    return rows * patch, columns * patch


def least_size(size: tuple[int, int], policy: SamplingPolicy) -> tuple[int, int]:
    """The smallest that ``policy`` makes of a frame of this size without bending its shape: rounding up to patches may
    take twice ``min_pixels``."""
    shape = tuple(side / max(size) for side in size)
    most = min(2 * policy.least_patches, policy.most_patches)
    return fit_size(shape, most * policy.patch**2, policy.patch, policy.min_pixels)


def _patches(min_pixels: int, max_pixels: int, patch: int) -> tuple[int, int]:
    """Least and most patches of a frame."""
    least = max(1, -(-min_pixels // patch**2))
    return least, max(least, max_pixels // patch**2)


def _nearest_shape(ratio: float, least: int, most: int) -> tuple[int, int]:
    """Rows and columns of ``least`` to ``most`` patches, with columns / rows as near to ``ratio`` as there is."""

    def candidates() -> Iterator[tuple[int, int]]:
        for rows in range(1, most + 1):
            fewest, greatest = -(-least // rows), most // rows
            if fewest <= greatest:
                yield rows, min(max(fewest, round(rows * ratio)), greatest)

    return min(candidates(), key=lambda sides: abs(math.log(sides[1] / sides[0] / ratio)))


def plan_window(info: VideoInfo, start_s: float, end_s: float, policy: SamplingPolicy) -> FramePlan:
    """Frames spread evenly over ``[start_s, end_s]``, at the true times of the frames on display then.

    Raises:
        VideoRangeError: the window is empty, reversed, not finite, or outside ``[0, duration]``; or too short for
            the ``"index"`` rule, which needs two frames.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s <= info.duration_s):
        raise VideoRangeError(
            f"[{start_s}, {end_s}] s",
            f"a window must satisfy 0 <= start < end <= {info.duration_s:.2f} s",
            "Choose a window inside the video.",
        )
    numbers = (
        _by_index(info, start_s, end_s, policy) if policy.rule == "index" else _by_time(info, start_s, end_s, policy)
    )
    return FramePlan(
        times_s=tuple(info.times_s[numbers].tolist()),
        size=fit_size(info.size, policy.max_pixels, policy.patch, policy.min_pixels),
    )


def plan_overview(info: VideoInfo, policy: SamplingPolicy) -> FramePlan:
    """The whole video at low rate."""
    return plan_window(info, 0.0, info.duration_s, policy)


def _by_time(info: VideoInfo, start_s: float, end_s: float, policy: SamplingPolicy) -> np.ndarray:
    count = min(policy.max_frames, max(policy.min_frames, round((end_s - start_s) * policy.fps)))
    middles = start_s + (np.arange(count) + 0.5) * (end_s - start_s) / count
    return np.unique(np.searchsorted(info.times_s, middles, side="right") - 1)


def _by_index(info: VideoInfo, start_s: float, end_s: float, policy: SamplingPolicy) -> np.ndarray:
    fps = info.fps
    first, last = math.ceil(start_s * fps), min(math.floor(end_s * fps), len(info.times_s) - 1)
    frames = last - first + 1
    minimum, maximum = policy.min_frames + policy.min_frames % 2, policy.max_frames - policy.max_frames % 2
    count = int(min(max(frames / fps * policy.fps, minimum), maximum, frames)) // 2 * 2
    if count < 2:
        raise VideoRangeError(
            f"[{start_s}, {end_s}] s",
            f"the index rule needs a window of at least 2 frames, {2 / fps:.3f} s at {fps:.3f} frames/s",
            "Choose a longer window.",
        )
    # torch.linspace decides ties: a single-precision step, taken from both ends, each sum rounded once.
    step = float(np.float32(last - first) / np.float32(count - 1))
    steps = np.arange(count)
    spots = np.where(steps < count // 2, first + step * steps, last - step * steps[::-1])
    return np.rint(spots.astype(np.float32)).astype(np.int64)
