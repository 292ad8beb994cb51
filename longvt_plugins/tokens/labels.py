"""Whose words are they: a conversation as text that the policy wrote and text that it was given.

The policy's own text of a turn is what follows the generation prompt, up to and with ``<|im_end|>``. It is found
by rendering the conversation up to that turn, never by looking for role headers in tokens: a question that quotes
a header must not become a label. Each piece is tokenized alone, because in a rollout it is also generated alone:
the ids are those of the agent loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longvt_plugins.errors import ConfigError

END_OF_TURN = "<|im_end|>"
IGNORE = -100
"""Label of a token that is not supervised."""

Render = Callable[[Sequence[Mapping[str, Any]], bool], str]
"""``(messages, add_generation_prompt) -> text``."""


@dataclass(frozen=True)
class Segment:
    text: str
    own: bool
    """Written by the policy."""


def split_turns(messages: Sequence[Mapping[str, Any]], render: Render) -> list[Segment]:
    """Cut a conversation into segments. It ends with the last assistant turn: what follows teaches nothing.

    Raises:
        ConfigError: the chat template renders a turn differently once later turns are there, so no text of the
            whole is what the policy saw.
    """
    segments: list[Segment] = []
    done = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        given, through = render(messages[:index], True), render(messages[: index + 1], False)
        end = through.rfind(END_OF_TURN) + len(END_OF_TURN)
        if not (given.startswith(done) and through.startswith(given) and end > len(given)):
            raise ConfigError(
                f"the chat template at turn {index}",
                f"must render earlier turns as they were and end an assistant turn with {END_OF_TURN}",
                "Use a template of longvt_plugins/tokens/templates.",
            )
        segments += [Segment(given[len(done) :], own=False), Segment(through[len(given) : end], own=True)]
        done = through[:end]
    return segments


def token_labels(segments: Sequence[Segment], encode: Callable[[str], Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and labels of a conversation.

    Args:
        encode: text to ids, without special tokens added.

    Returns:
        ids and labels, int64 ``[length]`` each; a label is its id where ``own``, else ``IGNORE``.
    """
    ids, labels = [], []
    for segment in segments:
        piece = np.asarray(encode(segment.text), np.int64)
        ids.append(piece)
        labels.append(piece if segment.own else np.full_like(piece, IGNORE))
    empty = [np.empty(0, np.int64)]
    return np.concatenate(ids or empty), np.concatenate(labels or empty)
