"""crop_video without an engine: arguments a policy wrote -> frames by reference and a reply to read.

The videos come from the sample, never from the arguments. Whatever the arguments are, the result is a
``CropOutcome``; nothing is raised. A window that reaches past the video is clamped and the reply says so.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longvt_plugins.errors import ToolCallError, VideoError
from longvt_plugins.types import CropOutcome, Fault, MediaRef
from longvt_plugins.video import SamplingPolicy, VideoInfo, clip_store, plan_window, probe


@dataclass(frozen=True)
class CropOptions:
    policy: SamplingPolicy = field(default_factory=lambda: SamplingPolicy(fps=1.0, max_frames=16))


def crop_video(arguments: Mapping[str, object], videos: Sequence[str], options: CropOptions) -> CropOutcome:
    """Crop ``arguments["start_time"]`` to ``arguments["end_time"]`` (seconds) out of a video of the sample.

    Args:
        arguments: as parsed from the policy's call; hostile.
        videos: paths of the sample's own videos; ``arguments["video"]`` is an index into them (default 0).
        options: sampling of the window.

    Returns:
        ``ok`` with ``media`` (pixels: ``clip_store.get(outcome.media)``), ``refused`` for arguments outside
        the rules, or ``failed`` when the video does not yield its frames.
    """
    started = time.perf_counter()
    try:
        info = probe(_choose_video(arguments, videos))
        start_s, end_s = _clamp(_seconds(arguments, "start_time"), _seconds(arguments, "end_time"), info)
        plan = plan_window(info, start_s, end_s, options.policy)
        media = MediaRef(path=info.path, identity=info.identity, times_s=plan.times_s, size=plan.size)
        pixels = clip_store.get(media)
    except (ToolCallError, VideoError) as error:
        refused = isinstance(error, ToolCallError)
        return CropOutcome(
            status="refused" if refused else "failed",
            reply=f"{error.value}: {error.rule}. {error.remedy}" if refused else "The video cannot be read there.",
            seconds=time.perf_counter() - started,
            error=Fault.of(error),
        )
    patch = options.policy.patch
    return CropOutcome(
        status="ok",
        reply=_reply(start_s, end_s, plan.times_s),
        span_s=(start_s, end_s),
        times_s=plan.times_s,
        media=media,
        digest=hashlib.blake2b(pixels, digest_size=16).hexdigest(),
        tokens=len(plan.times_s) * (plan.size[0] // patch) * (plan.size[1] // patch),
        seconds=time.perf_counter() - started,
    )


def _choose_video(arguments: Mapping[str, object], videos: Sequence[str]) -> str:
    index = arguments.get("video", 0)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(videos):
        raise ToolCallError(f"video {index!r}", f"must be an index from 0 to {len(videos) - 1}", "Correct it.")
    return videos[index]


def _seconds(arguments: Mapping[str, object], name: str) -> float:
    value = arguments.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ToolCallError(f"{name} {str(value)[:40]!r}", "must be a number of seconds", "Call again with a number.")
    return float(value)


def _clamp(start_s: float, end_s: float, info: VideoInfo) -> tuple[float, float]:
    duration_s = round(info.duration_s, 2)
    clamped = max(0.0, start_s), min(end_s, info.duration_s)
    if clamped[0] >= clamped[1]:
        raise ToolCallError(
            f"window {start_s:g} to {end_s:g} s",
            f"must start before it ends and lie within 0 to {duration_s:g} s",
            "Call again with such a window.",
        )
    return clamped


def _reply(start_s: float, end_s: float, times_s: tuple[float, ...]) -> str:
    shown = ", ".join(f"{t:.1f}" for t in times_s)
    return f"{len(times_s)} frames of {start_s:.1f} to {end_s:.1f} s, at {shown} s."
