"""Hand vLLM each video of a Qwen3-VL prompt as the one placeholder it expands. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

TIME = re.compile(r"<(\d+\.\d) seconds>")
MAX_TIME_TOKENS = 24


def apply(rollout_utils) -> None:
    """Wrap ``verl.workers.rollout.utils.qwen2_5_vl_dedup_image_tokens``, which verl's vLLM server calls on prompts."""
    original = rollout_utils.qwen2_5_vl_dedup_image_tokens

    @functools.wraps(original)
    def dedup(prompt_ids: list[int], processor: Any) -> list[int]:
        ids = original(prompt_ids, processor)
        return collapse(ids, processor) if type(processor).__name__ == "Qwen3VLProcessor" else ids

    rollout_utils.qwen2_5_vl_dedup_image_tokens = dedup


def collapse(ids: Sequence[int], processor: Any) -> list[int]:
    """``ids`` with each video as start, placeholder, end: without the times, and the grids after the first.

    Grids that follow each other directly, at ascending times, are one video.

    Args:
        ids: one placeholder per grid: ``<0.5 seconds>`` start placeholder end, ``<2.5 seconds>`` start ...
    """
    kept: list[int] = []
    done, last_end, last_time = 0, -1, float("inf")
    for place in (n for n, token in enumerate(ids) if token == processor.video_token_id):
        start, time_s = _time_before(ids, place - 1, processor)
        kept += ids[done:start]
        if not (start == last_end and time_s > last_time):
            kept += ids[place - 1 : place + 2]
        done = last_end = place + 2
        last_time = time_s
    return [*kept, *ids[done:]]


def _time_before(ids: Sequence[int], end: int, processor: Any) -> tuple[int, float]:
    """Where the time that ends at ``end`` begins, and what it says."""
    for start in range(end - 1, max(-1, end - 1 - MAX_TIME_TOKENS), -1):
        text = processor.tokenizer.decode(ids[start:end])
        if match := TIME.fullmatch(text):
            return start, float(match[1])
        if "<" in text:
            break
    return end, float("-inf")
