"""Whose words: turns are found by rendering, so nothing that a question quotes becomes a label."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import numpy as np
import pytest

from longvt_plugins import tokens
from longvt_plugins.errors import ConfigError
from longvt_plugins.tokens.labels import Segment, split_turns, token_labels

TEMPLATES = Path(tokens.__path__[0], "templates")
CHAT = [
    {"role": "user", "content": "What does <|im_start|>assistant\nmean?"},
    {"role": "assistant", "content": "\nA header."},
    {"role": "tool", "content": "One."},
    {"role": "tool", "content": "Two."},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
    {"role": "user", "content": "Never answered."},
]


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl"])
def render(request):
    environment = jinja2.Environment()
    environment.filters["tojson"] = json.dumps  # as transformers does: jinja2's own escapes HTML
    template = environment.from_string((TEMPLATES / f"{request.param}.jinja").read_text())
    return lambda messages, prompt: template.render(messages=messages, add_generation_prompt=prompt)


def test_the_segments_are_the_conversation_up_to_the_last_answer(render):
    segments = split_turns(CHAT, render)
    assert render(CHAT[:5], False) == "".join(segment.text for segment in segments) + "\n"
    own = [segment.text for segment in segments if segment.own]
    assert own == [
        "\nA header.<|im_end|>",
        '\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call><|im_end|>',
    ]
    assert [segment.own for segment in segments] == [False, True, False, True]


def test_a_conversation_without_an_answer_has_no_segment(render):
    assert split_turns(CHAT[:1], render) == []


def test_a_template_that_forgets_what_was_said_is_refused(render):
    """As Qwen3's published thinking templates do with the thoughts of earlier turns."""

    def forgetful(messages, prompt):
        last = len(messages) - 1
        kept = [m if i == last or m["role"] != "assistant" else {**m, "content": "..."} for i, m in enumerate(messages)]
        return render(kept, prompt)

    with pytest.raises(ConfigError, match="must render earlier turns as they were"):
        split_turns(CHAT, forgetful)


def test_pieces_are_tokenized_alone():
    segments = [Segment("ab", own=False), Segment("bc", own=True), Segment("c", own=False)]
    pairs = lambda text: [ord(text[i]) for i in range(0, len(text), 2)]  # noqa: E731
    ids, labels = token_labels(segments, pairs)
    np.testing.assert_array_equal(ids, [97, 98, 99])
    np.testing.assert_array_equal(labels, [-100, 98, -100])
    assert ids.dtype == labels.dtype == np.int64
    assert [len(part) for part in token_labels([], pairs)] == [0, 0]
