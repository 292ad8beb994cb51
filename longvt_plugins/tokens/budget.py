"""How many tokens a conversation will take, from the headers of its videos alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

MARKS = 2
"""Tokens around an image or a video grid: vision start and end."""


def visual_tokens(size: tuple[int, int], patch: int) -> int:
    """Tokens of one frame of ``(height, width)`` as an image, its marks not counted.

    Args:
        patch: patch size times spatial merge: 28 for Qwen2.5-VL, 32 for Qwen3-VL.
    """
    return (size[0] // patch) * (size[1] // patch)


def media_tokens(messages: Iterable[Mapping[str, Any]], patch: int) -> int:
    """What the frames in ``messages`` add to their text: exact for images, and for the videos of Qwen2.5-VL.

    A text rendered with one placeholder per item already counts one token for each, and its marks.
    """
    total = 0
    for message in messages:
        for item in message["content"] if isinstance(message["content"], list) else ():
            if item.get("type") == "image" and "size" in item:
                total += visual_tokens(tuple(item["size"]), patch) - 1
            elif item.get("type") == "video" and "size" in item:
                grids = -(-len(item["times_s"]) // 2)
                total += grids * visual_tokens(tuple(item["size"]), patch) - 1
    return total
