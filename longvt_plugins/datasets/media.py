"""Media of a conversation: planned from file headers, put into messages by reference, and handed out as pixels.

``plan_media`` reads no pixel: it probes each file, chooses frames and sizes, and says what stands where. ``pixels``
then fetches, frames from the clip store. How a video's frames look in messages is the media profile's matter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from longvt_plugins.errors import ConfigError, DataError, LongVTError, VideoRangeError
from longvt_plugins.tokens import frames_time
from longvt_plugins.types import MediaRef
from longvt_plugins.video import SamplingPolicy, VideoInfo, clip_store, plan_window, probe
from longvt_plugins.video.sampling import fit_size

from .paths import local_path
from .problems import SAMPLING, WINDOW

END_TOLERANCE_S = 0.5
"""How far a row's ``video_end`` may lie behind the last frame: annotations round durations."""


@dataclass(frozen=True)
class Picture:
    """An image file, at the size it is shown at."""

    path: str
    size: tuple[int, int]

    def pixels(self) -> np.ndarray:
        """uint8 ``[height, width, 3]``, RGB.

        Raises:
            DataError: the file no longer opens.
        """
        try:
            with Image.open(self.path) as image:
                return np.asarray(image.convert("RGB").resize(self.size[::-1], Image.Resampling.BICUBIC))
        except (OSError, ValueError) as error:
            raise DataError(self.path, f"is not a picture ({error})", "Replace the file or drop the row.") from error


@dataclass(frozen=True)
class MediaOptions:
    """How media of SFT rows are shown.

    Attributes:
        profile: ``frames-time`` (frames as images, each after its time) or ``native`` (video tokens).
        overview: sampling of whole videos; a row's own ``fps``, ``max_frames``, ``max_pixels`` go before it.
        picture_pixels: height x width of a picture at most.
    """

    profile: str = frames_time.NAME
    overview: SamplingPolicy = field(default_factory=SamplingPolicy)
    picture_pixels: int = 1_003_520

    def __post_init__(self):
        if self.profile not in PROFILES:
            raise ConfigError(f"profile {self.profile!r}", f"is not one of {', '.join(PROFILES)}", "Change it.")


def _as_video(ref: MediaRef) -> list[dict[str, Any]]:
    return [{"type": "video", "path": ref.path, "identity": ref.identity}]


PROFILES: dict[str, Callable[[MediaRef], list[dict[str, Any]]]] = {
    frames_time.NAME: frames_time.content_of,
    "native": _as_video,
}
"""Content of a message for an overview."""


@dataclass(frozen=True)
class PlannedMedia:
    messages: list[dict[str, Any]]
    """For the chat template: items ``text``, ``image``, ``video``."""
    images: tuple[Picture | MediaRef, ...]
    """In the order of the image items; a ``MediaRef`` stands for one image per frame."""
    videos: tuple[MediaRef, ...]
    """In the order of the video items."""

    def image_sizes(self) -> list[tuple[int, int]]:
        return [
            size
            for source in self.images
            for size in [source.size] * (len(source.times_s) if isinstance(source, MediaRef) else 1)
        ]

    def image_pixels(self) -> Iterator[np.ndarray]:
        """uint8 ``[height, width, 3]`` of each image item."""
        for source in self.images:
            yield from clip_store.get(source) if isinstance(source, MediaRef) else [source.pixels()]


def plan_media(
    messages: Sequence[Mapping[str, Any]], root: str | os.PathLike[str], options: MediaOptions
) -> PlannedMedia:
    """Replace the media of ``messages`` (the one shape of ``chains.py``) by what the template shows.

    Raises:
        DataError: a medium that cannot be shown, with the column it stands in.
    """
    shown: list[dict[str, Any]] = []
    images: list[Picture | MediaRef] = []
    videos: list[MediaRef] = []
    for number, message in enumerate(messages):
        content: list[dict[str, Any]] = []
        for position, item in enumerate(message["content"]):
            if item["type"] == "text":
                content.append(item)
                continue
            try:
                content += _show(item, message["role"], root, options, images, videos)
            except LongVTError as error:
                column = f"messages[{number}].content[{position}]"
                raise DataError(f"{column}: {error.value}", error.rule, error.remedy) from error
        shown.append({**message, "content": content})
    return PlannedMedia(shown, tuple(images), tuple(videos))


def _show(item, role: str, root, options: MediaOptions, images: list, videos: list) -> list[dict[str, Any]]:
    kind = item["type"]
    details = item[kind]
    path = local_path(details["url"], root)
    if kind == "image_url":
        images.append(plan_picture(path, options))
        return [{"type": "image"}]
    info = probe(path)
    if kind == "frames":
        ref = _frames(info, details, options.overview.patch)
    else:
        ref = _window(info, details, options.overview)
    # A tool shows its frames bare and lists their times after them.
    content = PROFILES[options.profile](ref) if role != "tool" else [{"type": "image"}] * len(ref.times_s)
    (videos if content[-1]["type"] == "video" else images).append(ref)
    return content


def plan_picture(path: str, options: MediaOptions) -> Picture:
    """A picture and the size it is shown at, from its header.

    Raises:
        DataError: the file is missing or not a picture.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(path, f"is not a picture that opens ({error})", "Fix the path or the root.") from error
    policy = options.overview
    return Picture(path, fit_size((height, width), options.picture_pixels, policy.patch, policy.patch**2))


def _frames(info: VideoInfo, details: Mapping[str, Any], patch: int) -> MediaRef:
    times_s = tuple(float(time_s) for time_s in details["times_s"])
    if times_s[-1] > info.duration_s:
        raise VideoRangeError(
            f"{info.path} at {times_s[-1]} s",
            f"the video ends at {info.duration_s:.2f} s",
            "Fix the times or the file.",
        )
    height, width = (int(side) for side in details["size"])
    # A rollout of a model with other patches has other multiples; sizes of this model stay as they are.
    size = fit_size((height, width), max(height * width, patch**2), patch)
    return MediaRef(path=info.path, identity=info.identity, times_s=times_s, size=size)


def _window(info: VideoInfo, details: Mapping[str, Any], policy: SamplingPolicy) -> MediaRef:
    own = {key: details[key] for key in SAMPLING if key in details}
    for key in own.keys() - {"fps"}:
        own[key] = int(own[key])
    if "max_frames" in own:
        own.setdefault("min_frames", min(policy.min_frames, own["max_frames"]))
    if "max_pixels" in own:
        own.setdefault("min_pixels", min(policy.min_pixels, own["max_pixels"]))
    start_s, end_s = (details.get(key) for key in WINDOW)
    start_s, end_s = float(start_s or 0.0), float(info.duration_s if end_s is None else end_s)
    if end_s > info.duration_s + END_TOLERANCE_S or start_s >= info.duration_s:
        raise VideoRangeError(
            f"{info.path}, {start_s} to {end_s} s",
            f"the video ends at {info.duration_s:.2f} s, before its segment",
            "Fix the segment, or fetch the whole video.",
        )
    plan = plan_window(info, start_s, min(end_s, info.duration_s), replace(policy, **own))
    return MediaRef(path=info.path, identity=info.identity, times_s=plan.times_s, size=plan.size)
