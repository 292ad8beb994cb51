"""Media of a conversation: planned from file headers, put into messages by reference, and handed out as pixels.

``plan_media`` reads no pixel: it probes each file, chooses frames and sizes, and says what stands where. Pixels are
fetched later, frames from the clip store. How frames look in messages is the media profile's matter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from longvt_plugins.errors import DataError, LongVTError, VideoRangeError
from longvt_plugins.tokens.media import image_items
from longvt_plugins.tokens.profiles import MediaProfile, profile_named
from longvt_plugins.types import CropOutcome, MediaRef
from longvt_plugins.video import SamplingPolicy, VideoInfo, clip_store, plan_window, probe
from longvt_plugins.video.sampling import fit_size

from .paths import local_path
from .problems import SAMPLING, WINDOW

PICTURE_PIXELS = 1_003_520
"""Height x width of a picture at most, unless a recipe says otherwise: 1,280 tokens of Qwen2.5-VL."""
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
        profile: the media profile. ``native`` is taken for Qwen2.5-VL too: positions are explicit here.
        overview: sampling of whole videos; a row's own ``fps``, ``max_frames``, ``max_pixels`` go before it.
        picture_pixels: height x width of a picture, at least and at most.
    """

    profile: MediaProfile = field(default_factory=lambda: profile_named(None))
    overview: SamplingPolicy = field(default_factory=SamplingPolicy)
    picture_pixels: tuple[int, int] = (3_136, PICTURE_PIXELS)


@dataclass(frozen=True)
class PlannedMedia:
    messages: list[dict[str, Any]]
    """For the chat template: items ``text``, ``image``, ``video``."""
    images: tuple[Picture | MediaRef, ...]
    """In the order of the image items; a ``MediaRef`` stands for one image per frame."""
    videos: tuple[MediaRef, ...]
    """In the order of the video items."""

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
        prompt = "".join(item.get("text", "") for item in message["content"])
        sentences = ""
        for position, item in enumerate(message["content"]):
            if item["type"] == "text":
                content.append(item)
                continue
            try:
                path = local_path(item[item["type"]]["url"], root)
                content += _show(item, message["role"], path, options, images, videos)
            except LongVTError as error:
                column = f"messages[{number}].content[{position}]"
                raise DataError(f"{column}: {error.value}", error.rule, error.remedy) from error
            if item["type"] == "video_url" or (item["type"] == "frames" and message["role"] != "tool"):
                sentences += options.profile.path_sentence(path, prompt)
        content += [{"type": "text", "text": sentences}] if sentences else []
        shown.append({**message, "content": content})
    return PlannedMedia(shown, tuple(images), tuple(videos))


def crop_items(outcome: CropOutcome, profile: MediaProfile) -> list[dict[str, Any]]:
    """The reply of a tool as items of a chain, in the order and words in which ``profile`` showed it."""
    content = profile.crop_content(outcome)
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    frames = {"url": outcome.media.path, "times_s": list(outcome.media.times_s), "size": list(outcome.media.size)}
    items: list[dict[str, Any]] = []
    for item, after in zip(content, [*content[1:], {"type": None}], strict=True):
        if item["type"] == "text" and after["type"] != "image":
            items.append(item)
        elif item["type"] == "image" and {"type": "frames", "frames": frames} not in items:
            items.append({"type": "frames", "frames": frames})
    return items


def _show(item, role: str, path: str, options: MediaOptions, images: list, videos: list) -> list[dict[str, Any]]:
    details = item[item["type"]]
    if item["type"] == "image_url":
        images.append(plan_picture(path, options.overview.patch, options.picture_pixels))
        return [{"type": "image"}]
    info = probe(path)
    if item["type"] == "frames":
        ref = _frames(info, details, options.overview.patch)
        if role == "tool":
            images.append(ref)
            return image_items(ref, options.profile.labels)
    else:
        ref = _window(info, details, options.overview)
    (videos if options.profile.video_tokens else images).append(ref)
    return options.profile.overview_content(ref)


def plan_picture(path: str, patch: int, pixels: tuple[int, int]) -> Picture:
    """A picture and the size it is shown at, from its header.

    Args:
        pixels: height x width, at least and at most.

    Raises:
        DataError: the file is missing or not a picture.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(path, f"is not a picture that opens ({error})", "Fix the path or the root.") from error
    return Picture(path, fit_size((height, width), pixels[1], patch, pixels[0]))


def picture_pixels(image_processor: Any, most: int | None = None) -> tuple[int, int]:
    """Bounds within which a checkpoint's image processor leaves a picture as it is."""
    size = image_processor.size
    return size["shortest_edge"], max(size["shortest_edge"], min(size["longest_edge"], most or PICTURE_PIXELS))


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
    return info.frames(times_s, size)


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
    return info.frames(plan.times_s, plan.size)
