"""Which frames, at which size: timestamps for a window or an overview, within budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from longvt_plugins.errors import VideoRangeError

from .probe import VideoInfo


@dataclass(frozen=True)
class SamplingPolicy:
    """How densely and how large to sample.

    Attributes:
        fps: frames per second wanted inside the window.
        min_frames, max_frames: bounds on the count; the video's own frames bound it too.
        max_pixels: height * width of one frame at most.
        patch: both sides are multiples of it (patch size x spatial merge: 28 for Qwen2.5-VL).
    """

    fps: float = 1.0
    min_frames: int = 2
    max_frames: int = 32
    max_pixels: int = 50_176
    patch: int = 28


@dataclass(frozen=True)
class FramePlan:
    times_s: tuple[float, ...]
    size: tuple[int, int]


def fit_size(size: tuple[int, int], max_pixels: int, patch: int) -> tuple[int, int]:
    """Largest ``(height, width)`` in multiples of ``patch`` with the same aspect ratio and at most ``max_pixels``."""
    scale = min(1.0, math.sqrt(max_pixels / (size[0] * size[1])))
    height, width = (max(patch, math.floor(side * scale / patch) * patch) for side in size)
    return height, width


def plan_window(info: VideoInfo, start_s: float, end_s: float, policy: SamplingPolicy) -> FramePlan:
    """Frames spread evenly over ``[start_s, end_s]``, at the true times of the frames on display then.

    Raises:
        VideoRangeError: the window is empty, reversed, not finite, or outside ``[0, duration]``.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s <= info.duration_s):
        raise VideoRangeError(
            f"[{start_s}, {end_s}] s",
            f"a window must satisfy 0 <= start < end <= {info.duration_s:.2f} s",
            "Choose a window inside the video.",
        )
    count = min(policy.max_frames, max(policy.min_frames, round((end_s - start_s) * policy.fps)))
    middles = start_s + (np.arange(count) + 0.5) * (end_s - start_s) / count
    on_display = np.unique(np.searchsorted(info.times_s, middles, side="right") - 1)
    return FramePlan(
        times_s=tuple(float(t) for t in info.times_s[on_display]),
        size=fit_size(info.size, policy.max_pixels, policy.patch),
    )


def plan_overview(info: VideoInfo, policy: SamplingPolicy) -> FramePlan:
    """The whole video at low rate."""
    return plan_window(info, 0.0, info.duration_s, policy)
