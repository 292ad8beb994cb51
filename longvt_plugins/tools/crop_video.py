"""crop_video without an engine: arguments a policy wrote -> frames by reference and a reply to read.

The videos come from the sample, never from the arguments. Whatever the arguments and the files are, the result
is a ``CropOutcome`` and nothing is raised:

``malformed``  the arguments are not a call (missing, not numbers, unknown, another file)
``refused``    a call, but no such window: empty, reversed, outside the video
``failed``     the video did not yield its frames, or not in time
``ok``         ``clip_store.get(outcome.media)`` are the frames; a window that reached past the video was cut

The reply says what was wrong and what is legal, or at which second each frame stands. It names no file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from longvt_plugins.errors import LongVTError, ToolCallError, VideoOpenError, VideoRangeError
from longvt_plugins.types import CropOutcome, Fault, MediaRef
from longvt_plugins.video import VideoInfo, clip_store, plan_window, probe

from .arguments import CropRequest, read_arguments
from .options import CropOptions, frame_tokens, window_policy

__all__ = ["CropOptions", "CropRequest", "crop_request", "crop_video", "fault_outcome"]

CHARACTERS_PER_TOKEN = 3
"""For the estimate of a reply's text tokens: digits and punctuation run short."""


def crop_video(
    arguments: Mapping[str, object], videos: Sequence[str], options: CropOptions | None = None
) -> CropOutcome:
    """Crop a window out of one of the sample's videos. Synchronous; never raises.

    Args:
        arguments: as parsed from the policy's call: ``start_time`` and ``end_time`` in seconds, ``video`` (index,
            required when there are several), or ``video_path`` if it names one of ``videos``.
        videos: paths of the sample's own videos.
        options: sampling, budgets, range policy, deadline.
    """
    started = time.monotonic()
    try:
        request = read_arguments(arguments, videos)
    except ToolCallError as error:
        return fault_outcome(error, time.monotonic() - started)
    except Exception as error:  # a hostile mapping may raise anything from its own methods
        return fault_outcome(ToolCallError("arguments", f"cannot be read ({type(error).__name__})", "Give plain JSON."))
    return crop_request(request, os.fspath(videos[request.video]), options or CropOptions())


def crop_request(request: CropRequest, path: str, options: CropOptions) -> CropOutcome:
    """``crop_video`` after its arguments were read. Never raises."""
    started = time.monotonic()
    try:
        return _crop(request, path, options, started)
    except Exception as error:  # one call fails, whatever a file or a codec does
        return fault_outcome(error, time.monotonic() - started)


def fault_outcome(error: BaseException, seconds: float = 0.0) -> CropOutcome:
    """The outcome of a call that ended in ``error``."""
    if isinstance(error, ToolCallError | VideoRangeError):
        status = "malformed" if isinstance(error, ToolCallError) else "refused"
        reply = f"No frames. {error}"
    else:
        status = "failed"
        late = isinstance(error, LongVTError) and "deadline" in error.rule
        reply = "No frames. " + (
            "This window took too long to read. Ask for a shorter one."
            if late
            else "The video cannot be read there. Ask for another window, or answer from what you have seen."
        )
    return CropOutcome(status=status, reply=reply, tokens=_text_tokens(reply), seconds=seconds, error=Fault.of(error))


def _crop(request: CropRequest, path: str, options: CropOptions, started: float) -> CropOutcome:
    info = probe(_inside(path, options.video_root))
    start_s, end_s = _legal_window(request, info, options)
    policy = window_policy(info, start_s, end_s, options)
    plan = plan_window(info, start_s, end_s, policy)
    media = MediaRef(path=info.path, identity=info.identity, times_s=plan.times_s, size=plan.size)
    clip = clip_store.load(media, deadline_s=max(0.0, options.deadline_s - (time.monotonic() - started)))
    reply = _reply(request, (start_s, end_s), plan.times_s, info)
    return CropOutcome(
        status="ok",
        reply=reply,
        span_s=(start_s, end_s),
        times_s=plan.times_s,
        media=media,
        digest=clip.digest,
        tokens=len(plan.times_s) * frame_tokens(plan.size, policy.patch) + _text_tokens(reply),
        seconds=time.monotonic() - started,
    )


def _inside(path: str, root: str | None) -> str:
    """``path``, proven to lie below ``root`` with all links resolved."""
    if root is None:
        return path
    real, real_root = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([real, real_root]) != real_root:
        raise VideoOpenError(path, f"lies outside video_root {root}", "Correct the row, or video_root.")
    return real


def _legal_window(request: CropRequest, info: VideoInfo, options: CropOptions) -> tuple[float, float]:
    start_s, end_s = max(0.0, request.start_s), min(request.end_s, info.duration_s)
    cut = (start_s, end_s) != (request.start_s, request.end_s)
    if request.start_s >= request.end_s:
        rule = "end_time must be greater than start_time"
    elif start_s >= end_s or (cut and options.beyond == "refuse"):
        rule = f"the window must lie within the video, 0 to {_floor(info.duration_s)} s"
    else:
        return start_s, end_s
    raise VideoRangeError(
        f"{request.start_s:.6g} to {request.end_s:.6g} s",
        rule,
        f"Choose 0 <= start_time < end_time <= {_floor(info.duration_s)}.",
    )


def _reply(request: CropRequest, span_s: tuple[float, float], times_s: tuple[float, ...], info: VideoInfo) -> str:
    cut = ""
    if span_s != (request.start_s, request.end_s):
        asked = f"{request.start_s:.6g} to {request.end_s:.6g} s"
        cut = f" You asked for {asked}; the video has 0 to {_floor(info.duration_s)} s."
    shown = ", ".join(f"{time_s:.2f}" for time_s in times_s)
    count = "1 frame" if len(times_s) == 1 else f"{len(times_s)} frames"
    return f"{count} of {span_s[0]:.2f} to {span_s[1]:.2f} s.{cut} Frame times in seconds: {shown}."


def _floor(seconds: float) -> str:
    """Rounded down, so that a policy may use the number as a legal end."""
    return f"{int(seconds * 100) / 100:.2f}"


def _text_tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
