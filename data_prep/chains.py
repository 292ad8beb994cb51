"""Conversations on disk from ground truth: crops at given windows, through the recipe's own tool, then an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.datasets.media import crop_items
from longvt_plugins.datasets.schema import Chain
from longvt_plugins.episode import write_call
from longvt_plugins.testing.teach import Setting
from longvt_plugins.testing.tiny_model import make_tokenizer
from longvt_plugins.tools.crop_video import crop_video
from longvt_plugins.types import CropOutcome, Span


@dataclass(frozen=True)
class Look:
    """A turn of the demonstrator: a thought, and the window it then crops."""

    thought: str
    window: Span


def crop(setting: Setting, row: dict[str, Any], window: Span) -> CropOutcome:
    """What the tool replies."""
    path = str(Path(setting.video_root, row["videos"][0]))
    return crop_video({"start_time": window[0], "end_time": window[1]}, [path], setting.crop)


def conversation(
    setting: Setting, row: dict[str, Any], looks: Sequence[Look], thought: str, answer: str, name: str
) -> Chain:
    """The row's prompt, a crop per look with its frames by reference, and an answer."""
    system, user = (message["content"] for message in row["prompt"])
    _, question = user.split("<video>")
    video = {"type": "video_url", "video_url": {"url": row["videos"][0]}}
    messages = [
        {"role": "system", "content": [_text(system)]},
        {"role": "user", "content": [video, _text(question)]},
    ]
    for look in looks:
        start_s, end_s = look.window
        call = write_call("crop_video", json.dumps({"start_time": int(start_s), "end_time": int(end_s)}))
        items = crop_items(crop(setting, row, look.window), setting.profile)
        for item in items:
            if item["type"] == "frames":
                item["frames"]["url"] = row["videos"][0]
        messages.append({"role": "assistant", "content": [_text(f"<think>{look.thought}</think>\n{call}")]})
        messages.append({"role": "tool", "content": items})
    messages.append({"role": "assistant", "content": [_text(f"<think>{thought}</think><answer>{answer}</answer>")]})
    return Chain(id=name, messages=messages, tools=[setting.tool_schema])


def texts_of(chains: Sequence[Chain]) -> list[str]:
    """Conversations as the template writes them: what a tokenizer meets, in the proportions in which it meets it."""
    template = make_tokenizer([], 0)
    return [template.apply_chat_template(chain.messages, tools=chain.tools, tokenize=False) for chain in chains]


def _text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}
