"""How frames stand in messages: by reference, as images or as a video, with or without their times.

An item names file, content, time and size; pixels come from the clip store when a processor or an engine needs
them (``pixels_of``). So rows and trajectories stay small, and a video is decoded once per node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from longvt_plugins.types import MediaRef
from longvt_plugins.video import clip_store

PLACEHOLDER = re.compile(r"<\|(?:image|video)_pad\|>")
"""What a processor counts as a medium, in text as well."""
TICKS_PER_S = 1000
"""Video metadata counts frames; at this rate a frame number is a time in milliseconds."""


def time_label(time_s: float) -> str:
    """The text before a frame."""
    return f"[{time_s:.1f} s]"


def image_items(ref: MediaRef, labels: bool) -> list[dict[str, Any]]:
    """An image for each frame of ``ref``, each after its time if ``labels``."""
    items: list[dict[str, Any]] = []
    for time_s in ref.times_s:
        if labels:
            items.append({"type": "text", "text": time_label(time_s)})
        items.append(
            {"type": "image", "path": ref.path, "identity": ref.identity, "time_s": time_s, "size": list(ref.size)}
        )
    return items


def video_item(ref: MediaRef) -> dict[str, Any]:
    """All frames of ``ref`` as one video, for the model family's own video tokens."""
    return {
        "type": "video",
        "path": ref.path,
        "identity": ref.identity,
        "times_s": list(ref.times_s),
        "size": list(ref.size),
    }


def media_of(messages: Iterable[Mapping[str, Any]]) -> list[MediaRef]:
    """The frames that ``messages`` refer to, in order, as one ``MediaRef`` per run of frames of one video."""
    return [ref for ref, _ in _runs(messages)]


def pixels_of(messages: Iterable[Mapping[str, Any]]) -> tuple[list[np.ndarray], list[tuple[np.ndarray, dict]]]:
    """What ``messages`` refer to, decoded.

    Returns:
        images: uint8 ``[height, width, 3]`` each, in order.
        videos: uint8 ``[n, height, width, 3]`` with its ``video_metadata`` each, in order.

    Raises:
        VideoError: a file is gone, has changed, or does not decode.
    """
    images, videos = [], []
    for ref, kind in _runs(messages):
        frames = clip_store.get(ref)
        if kind == "video":
            videos.append((frames, video_metadata(ref.times_s)))
        else:
            images += list(frames)
    return images, videos


def video_metadata(times_s: Sequence[float]) -> dict[str, Any]:
    """What Hugging Face's and vLLM's video processors must be told to know the frames' true times."""
    ticks = [round(time_s * TICKS_PER_S) for time_s in times_s]
    spacing = (ticks[-1] - ticks[0]) / max(1, len(ticks) - 1)
    return {
        "fps": float(TICKS_PER_S),
        "frames_indices": ticks,
        # The number of frames over this is their mean rate, from which the time between grids is derived.
        "total_num_frames": max(1, round(spacing * len(ticks))),
        "duration": spacing * len(ticks) / TICKS_PER_S,
        "video_backend": "longvt_plugins",
    }


def _runs(messages: Iterable[Mapping[str, Any]]) -> list[tuple[MediaRef, str]]:
    runs: list[tuple[tuple, list[float]]] = []
    for message in messages:
        content = message["content"]
        for item in content if isinstance(content, list) else ():
            if item.get("type") not in ("image", "video") or "identity" not in item:
                continue
            video = item["path"], item["identity"], tuple(item["size"]), item["type"]
            if item["type"] == "video":
                runs.append((video, list(item["times_s"])))
            elif runs and runs[-1][0] == video and item["time_s"] > runs[-1][1][-1]:
                runs[-1][1].append(item["time_s"])
            else:
                runs.append((video, [item["time_s"]]))
    return [
        (MediaRef(path=path, identity=identity, times_s=tuple(times_s), size=size), kind)
        for (path, identity, size, kind), times_s in runs
    ]
