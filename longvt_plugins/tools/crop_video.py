"""crop_video without an engine: arguments a policy wrote -> frames by reference and a reply to read.

The videos come from the sample, never from the arguments. Whatever the arguments and the files are, the result
is a ``CropOutcome`` and nothing is raised:

``malformed``  the arguments are not a call (missing, not numbers, unknown, another file)
``refused``    a call, but no such window: empty, reversed, outside the video
``failed``     the video did not yield its frames, or not in time
``ok``         ``clip_store.get(outcome.media)`` are the frames; a window that reached past the video was cut

The reply says what was wrong and what is legal. It names no file. The outcome of a window is kept on the node with
its frames: the same crop again, from any process, costs no look at the video.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from longvt_plugins.errors import LongVTError, NoRoomError, ToolCallError, VideoOpenError, VideoRangeError
from longvt_plugins.tokens.budget import frame_tokens
from longvt_plugins.types import CropOutcome, Fault
from longvt_plugins.video import VideoInfo, clip_store, content_identity, plan_window, probe

from .arguments import CropRequest, read_arguments
from .options import CropOptions, fit_room, window_policy

__all__ = ["CropOptions", "CropRequest", "crop_request", "crop_video", "fault_outcome", "read_call"]


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
        request, path = read_call(arguments, videos)
    except ToolCallError as error:
        return fault_outcome(error, time.monotonic() - started)
    return crop_request(request, path, options or CropOptions())


def read_call(arguments: Mapping[str, object], videos: Sequence[str]) -> tuple[CropRequest, str]:
    """What a call asks for, and the path of its video.

    Raises:
        ToolCallError: whatever the arguments are, if they are no such call.
    """
    try:
        request = read_arguments(arguments, videos)
    except ToolCallError:
        raise
    except Exception as error:  # a hostile mapping may raise anything from its own methods
        what = f"cannot be read ({type(error).__name__})"
        raise ToolCallError("arguments", what, "Give plain JSON.") from error
    return request, os.fspath(videos[request.video])


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
    elif isinstance(error, NoRoomError):
        status, reply = "refused", "No frames. There is no room left for them."
    else:
        status = "failed"
        late = isinstance(error, LongVTError) and "deadline" in error.rule
        reply = "No frames. " + (
            "This window took too long to read. Ask for a shorter one."
            if late
            else "The video cannot be read there. Ask for another window, or answer from what you have seen."
        )
    return CropOutcome(status=status, reply=reply, tokens=text_tokens(reply), seconds=seconds, error=Fault.of(error))


def text_tokens(text: str) -> int:
    """Tokens of ``text``, at most: a byte-level tokenizer makes no more of them than there are bytes."""
    return len(text.encode(errors="replace"))


def _crop(request: CropRequest, path: str, options: CropOptions, started: float) -> CropOutcome:
    path, room = _inside(path, options.video_root), options.room
    ample = replace(options, room=None)
    deadline = started + options.deadline_s
    planned = clip_store.recall(
        path, content_identity(path), (request, ample), lambda: _plan(request, path, ample, deadline), deadline
    )
    outcome = CropOutcome.model_validate(planned)
    if room is not None:
        if not room.holds(len(outcome.times_s), outcome.media.size, options.policy.patch):
            outcome = CropOutcome.model_validate(_plan(request, path, options, deadline))
        labels = len(outcome.times_s) * room.label_tokens
        outcome = outcome.model_copy(update={"tokens": outcome.tokens + labels})
    load_started = time.monotonic()
    clip = clip_store.load(outcome.media, deadline_s=max(0.0, deadline - load_started))
    now = time.monotonic()
    return outcome.model_copy(
        update={
            "digest": clip.digest,
            "seconds": now - started,
            "decode_s": 0.0 if clip.cached else now - load_started,
            "cached": clip.cached,
        }
    )


def _plan(request: CropRequest, path: str, options: CropOptions, deadline: float) -> dict:
    """The outcome, all but its pixels, as JSON."""
    info = probe(path, deadline)
    start_s, end_s = _legal_window(request, info, options)
    policy = window_policy(info, start_s, end_s, options)
    if options.room is not None:
        policy = fit_room(info, start_s, end_s, policy, options.room)
    plan = plan_window(info, start_s, end_s, policy)
    reply = _reply(request, (start_s, end_s), len(plan.times_s), info, reduced=options.room is not None)
    outcome = CropOutcome(
        status="ok",
        reply=reply,
        span_s=(start_s, end_s),
        times_s=plan.times_s,
        media=info.frames(plan.times_s, plan.size),
        tokens=len(plan.times_s) * frame_tokens(plan.size, policy.patch) + text_tokens(reply),
        reduced=options.room is not None,
    )
    return outcome.model_dump(mode="json")


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


def _reply(request: CropRequest, span_s: tuple[float, float], frames: int, info: VideoInfo, reduced: bool) -> str:
    said = [f"{frames} frame{'s' if frames > 1 else ''} of {span_s[0]:.2f} to {span_s[1]:.2f} s."]
    if span_s != (request.start_s, request.end_s):
        asked = f"{request.start_s:.6g} to {request.end_s:.6g} s"
        said.append(f"You asked for {asked}; the video has 0 to {_floor(info.duration_s)} s.")
    if reduced:
        said.append("Little room is left, so they are fewer or smaller than usual.")
    return " ".join(said)


def _floor(seconds: float) -> str:
    """Rounded down, so that a policy may use the number as a legal end."""
    return f"{int(seconds * 100) / 100:.2f}"
