"""A policy's arguments -> a request. They are hostile input: nothing in them is trusted, opened or echoed whole.

A video is named by its index among the sample's own; ``video_path``, which LongVT's checkpoints write, is
compared with the sample's paths as text and never touches the file system.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from longvt_plugins.errors import ToolCallError

KNOWN = ("start_time", "end_time", "video", "video_path")
MAX_TEXT = 4096


@dataclass(frozen=True)
class CropRequest:
    video: int
    """Index among the sample's videos."""
    start_s: float
    end_s: float
    """Finite; any order and sign."""


def read_arguments(arguments: object, videos: Sequence[str]) -> CropRequest:
    """What a call asks for.

    Args:
        arguments: as parsed from the call's JSON.
        videos: paths of the sample's own videos.

    Raises:
        ToolCallError: with a message the policy can learn from.
    """
    if not isinstance(arguments, Mapping):
        raise ToolCallError(_shown(arguments), "arguments must be a JSON object", f"Give {_usage(videos)}.")
    unknown = [key for key in arguments if key not in KNOWN]
    if unknown:
        raise ToolCallError(_shown(unknown[0]), "is not an argument of crop_video", f"Give {_usage(videos)}.")
    start_s, end_s = (_seconds(arguments, name) for name in ("start_time", "end_time"))
    return CropRequest(_video(arguments, videos), start_s, end_s)


def _usage(videos: Sequence[str]) -> str:
    video = f", and video: 0 to {len(videos) - 1}" if len(videos) > 1 else ""
    return f"start_time and end_time in seconds{video}"


def _shown(value: object) -> str:
    """A bounded echo of ``value``."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**15:
        return "a number of more than 15 digits"
    if isinstance(value, str | int | float | bool | None):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:56]}..."
    return f"a {type(value).__name__}"


def _seconds(arguments: Mapping, name: str) -> float:
    remedy = "Give a number of seconds from the start of the video, such as 12.5."
    value = arguments.get(name)
    if value is None:
        raise ToolCallError(name, "is missing", remedy)
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise ToolCallError(f"{name}: {_shown(value)}", "must be a finite number", remedy)
    return number


def _number(value: object) -> float | None:
    """Numbers, and strings that spell one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and (len(value) > 32 or not value.isascii()):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _video(arguments: Mapping, videos: Sequence[str]) -> int:
    if not videos:
        raise ToolCallError("crop_video", "this question has no video", "Answer without it.")
    by_index, by_path = arguments.get("video"), arguments.get("video_path")
    chosen = set()
    if by_index is not None:
        number = _number(by_index)
        if number is None or number not in range(len(videos)):
            raise ToolCallError(f"video: {_shown(by_index)}", f"must be {_legal(videos)}", "Name one of them.")
        chosen.add(int(number))
    if by_path is not None:
        chosen.add(_named(by_path, videos))
    if len(chosen) > 1:
        raise ToolCallError("video and video_path", "name different videos", "Give one of them.")
    if not chosen and len(videos) > 1:
        raise ToolCallError("video", f"is missing, and there are {len(videos)}", f"Give {_legal(videos)}.")
    return chosen.pop() if chosen else 0


def _legal(videos: Sequence[str]) -> str:
    return "0" if len(videos) == 1 else f"an index from 0 to {len(videos) - 1}"


def _named(path: object, videos: Sequence[str]) -> int:
    """Index of the one video that ``path`` names: its whole path, or the last parts of it."""
    if isinstance(path, str) and 0 < len(path) <= MAX_TEXT:
        own = [os.fspath(video) for video in videos]
        if path in own:
            return own.index(path)
        parts = PurePosixPath(path).parts
        if parts:
            matches = [n for n, video in enumerate(own) if PurePosixPath(video).parts[-len(parts) :] == parts]
            if len(matches) == 1:
                return matches[0]
    raise ToolCallError(
        f"video_path: {_shown(path)}",
        "is not a video of this question",
        f"Leave it out, or give video: {_legal(videos)}.",
    )
