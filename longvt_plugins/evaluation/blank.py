"""Crops with their pixels taken away: as many images, as large, at the same places, all black.

A policy that reads its crops falls to chance with them; one that does not notices nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from longvt_plugins.loops.openai_loop import png_url, wire_messages


def blank_crops(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """``wire_messages`` (for ``OpenAILoop.wire``), with the frames of tool replies black. The overview is kept."""
    return [_blank(message) if message["role"] == "tool" else wire_messages([message])[0] for message in messages]


def _blank(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    return {**message, "content": [_black(item) if item["type"] == "image" else item for item in content]}


def _black(item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": png_url(np.zeros((*item["size"], 3), dtype=np.uint8))}}
