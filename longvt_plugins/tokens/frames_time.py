"""The media profile ``frames-time``: every frame is an image, preceded by its time in plain seconds.

Images have no temporal position, so rollout and actor agree on them for Qwen2.5-VL, which they do not
for its video tokens on stock verl 0.9.1 and vLLM 0.24.0. In a message a frame is a reference, never
pixels: rows and trajectories stay small, and ``clip_store`` is asked once per video.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from longvt_plugins.types import MediaRef

NAME = "frames-time"


def time_label(time_s: float) -> str:
    """The text before a frame."""
    return f"[{time_s:.1f} s]"


def content_of(ref: MediaRef) -> list[dict[str, Any]]:
    """Message content for the frames of ``ref``: a time label and an image item for each."""
    items: list[dict[str, Any]] = []
    for time_s in ref.times_s:
        items.append({"type": "text", "text": time_label(time_s)})
        items.append(
            {"type": "image", "path": ref.path, "identity": ref.identity, "time_s": time_s, "size": list(ref.size)}
        )
    return items


def media_of(messages: Iterable[Mapping[str, Any]]) -> list[MediaRef]:
    """The frames that ``messages`` refer to, in order, as one ``MediaRef`` per run of frames of one video."""
    runs: list[tuple[tuple, list[float]]] = []
    for message in messages:
        content = message["content"]
        for item in content if isinstance(content, list) else ():
            if item.get("type") != "image" or "identity" not in item:
                continue
            video = item["path"], item["identity"], tuple(item["size"])
            if runs and runs[-1][0] == video and item["time_s"] > runs[-1][1][-1]:
                runs[-1][1].append(item["time_s"])
            else:
                runs.append((video, [item["time_s"]]))
    return [
        MediaRef(path=path, identity=identity, times_s=tuple(times_s), size=size)
        for (path, identity, size), times_s in runs
    ]
