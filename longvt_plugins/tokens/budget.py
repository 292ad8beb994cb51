"""How many tokens a conversation will take, from the headers of its videos alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.video import SamplingPolicy

MARKS = 2
"""Tokens around an image or a video grid: vision start and end."""
SPREAD = 1.5
"""``max_pixels`` over ``min_pixels``, at least, both in whole patches.

Rounding a side of k patches to the next changes the area by up to (k + 1) / k. So between these bounds frames of two
patches or more on the short side keep their shape as well as between any others; thinner ones get the nearest shape.
Between closer bounds some sizes have no shape near theirs: at 64 to 64 patches, 16:9 becomes a square.
"""


def visual_tokens(size: tuple[int, int], patch: int) -> int:
    """Tokens of one frame of ``(height, width)`` as an image, its marks not counted.

    Args:
        patch: patch size times spatial merge: 28 for Qwen2.5-VL, 32 for Qwen3-VL.
    """
    return (size[0] // patch) * (size[1] // patch)


def frame_tokens(size: tuple[int, int], patch: int) -> int:
    """The same with its marks."""
    return visual_tokens(size, patch) + MARKS


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


def suited(policy: SamplingPolicy, image_processor: Any) -> SamplingPolicy:
    """``policy`` with the patch, and at least the least size, of a model's processor (Hugging Face's, Qwen-VL), and
    with bounds that every shape fits between."""
    patch, least = patch_of(image_processor), max(policy.min_pixels, image_processor.size["shortest_edge"])
    return replace(policy, patch=patch, min_pixels=least, max_pixels=max(policy.max_pixels, _ample(least, patch)))


def check_suited(policy: SamplingPolicy, image_processor: Any, what: str) -> None:
    """Refuse frames that the model's processor would resize, or that lose their shape so that it need not: what was
    planned would not be what is shown.

    Raises:
        ConfigError: another patch, or bounds beyond the processor's, or too close together.
    """
    patch = patch_of(image_processor)
    least, most = image_processor.size["shortest_edge"], image_processor.size["longest_edge"]
    ample = _ample(max(policy.min_pixels, least), patch)
    wrong = {
        "patch": (policy.patch, policy.patch == patch, f"is {patch}"),
        "min_pixels": (policy.min_pixels, policy.least_patches * patch**2 >= least, f"is {least} at least"),
        "max_pixels": (
            policy.max_pixels,
            ample <= policy.max_pixels <= most,
            f"lies between {ample} ({SPREAD} times min_pixels in whole patches: every size fits) and {most}",
        ),
    }
    for name, (value, holds, rule) in wrong.items():
        if not holds:
            raise ConfigError(
                f"{what}: {name}={value}", f"the model's {rule}; its processor would resize frames", "Set it so."
            )


def patch_of(image_processor: Any) -> int:
    """Sides of frames are multiples of it, in pixels."""
    return image_processor.patch_size * image_processor.merge_size


def _ample(min_pixels: int, patch: int) -> int:
    """The least ``max_pixels`` for these ``min_pixels``."""
    return math.ceil(SPREAD * math.ceil(min_pixels / patch**2)) * patch**2
