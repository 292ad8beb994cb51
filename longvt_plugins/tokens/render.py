"""A whole conversation as token ids: the template, and a token for each visual feature.

What a loop builds turn by turn, a server renders from messages, and SFT reads from a row must all equal this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .media import pixels_of


def render(
    processor: Any,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] = (),
    add_generation_prompt: bool = False,
) -> tuple[list[int], dict[str, np.ndarray]]:
    """Token ids of ``messages`` and the features of their frames.

    Args:
        processor: a Hugging Face processor that carries the chat template.
        messages: with frames by reference.
        tools: OpenAI schemas, as the policy is shown them.

    Returns:
        ids: the conversation, one id per visual feature.
        features: what the processor returns beside them (``pixel_values``, ``image_grid_thw``, ...), as arrays.
    """
    text = processor.apply_chat_template(
        list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    images, videos = pixels_of(messages)
    metadata = {"video_metadata": [m for _, m in videos], "do_sample_frames": False} if videos else {}
    batch = processor(
        text=[text],
        images=list(images) or None,
        videos=[frames for frames, _ in videos] or None,
        return_tensors="np",
        **metadata,
    )
    ids = batch.pop("input_ids")[0].tolist()
    batch.pop("attention_mask", None)
    return ids, dict(batch)
