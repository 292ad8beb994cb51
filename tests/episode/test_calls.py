"""What a policy may write where a call is expected."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longvt_plugins.episode import read_calls, write_call
from longvt_plugins.episode.calls import RECORDED_CHARACTERS
from longvt_plugins.types import CropCall

GOOD = '{"name": "crop_video", "arguments": {"start_time": 1}}'


def test_calls_are_read_in_order():
    text = f"<think>x</think>\n<tool_call>\n{GOOD}\n</tool_call>\n<tool_call>{GOOD.replace('1', '2')}</tool_call>"
    assert [call.arguments for call in read_calls(text)] == [{"start_time": 1}, {"start_time": 2}]
    assert all(call.problem is None and call.name == "crop_video" for call in read_calls(text))


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("<tool_call>{oops</tool_call>", ["not JSON"]),
        (f"<tool_call>{GOOD}", ["not closed"]),
        (f"<tool_call>{GOOD}{GOOD}</tool_call>", ["more than one JSON object"]),
        (f"<tool_call><tool_call>{GOOD}</tool_call></tool_call>", ["not closed", None]),
        ("<tool_call></tool_call>", ["not JSON"]),
        ("<tool_call>[1, 2]</tool_call>", ['"name"']),
        ('<tool_call>{"name": 3, "arguments": {}}</tool_call>', ['"name"']),
        ('<tool_call>{"name": "crop_video"}</tool_call>', ["one JSON object"]),
        ('<tool_call>{"name": "crop_video", "arguments": "{}"}</tool_call>', ["one JSON object"]),
        ('<tool_call>{"name": "crop_video", "arguments": [1, 2]}</tool_call>', ["one JSON object"]),
        (f"<tool_call>{'[' * 15_000}</tool_call>", ["not JSON"]),
        (f'<tool_call>{{"name": "x", "arguments": {{"n": {"9" * 5_000}}}}}</tool_call>', ["not JSON"]),
        (f"<tool_call>{'x' * 1_000_000}</tool_call>", ["too long"]),
        (f'<tool_call>{{"name": "x", "arguments": {{"a": {"[" * 300}{"]" * 300}}}}}</tool_call>', ["nested deeper"]),
        (r'<tool_call>{"name": "x", "arguments": {"a": "\ud83d"}}</tool_call>', ["half of a character"]),
        (r'<tool_call>{"name": "x", "arguments": {"\ud83d": 1}}</tool_call>', ["half of a character"]),
        (r'<tool_call>{"name": "\ud83d", "arguments": {}}</tool_call>', ["half of a character"]),
        ("</tool_call> no call", []),
        ("plain words", []),
    ],
)
def test_what_cannot_be_read_has_a_problem(text, problems):
    calls = read_calls(text)
    assert len(calls) == len(problems)
    for call, problem in zip(calls, problems, strict=True):
        assert (call.problem is None) if problem is None else (problem in call.problem)
        assert len(call.raw) <= RECORDED_CHARACTERS
        assert CropCall.model_validate_json(call.model_dump_json()) == call


@given(st.text(alphabet=st.sampled_from(list('<>/tool_call{}"name:,[]1 \n\0é')), max_size=200))
def test_any_text_gives_calls_and_never_raises(text):
    read_calls(f"<tool_call>{text}")


def test_a_structured_call_reads_as_it_was_written():
    (call,) = read_calls(write_call("crop_video", '{"start_time": 1.5, "note": "a\\"b"}'))
    assert call.name == "crop_video" and call.arguments == {"start_time": 1.5, "note": 'a"b'}


@pytest.mark.parametrize(
    "text",
    [
        f"<think>x</think>\n<tool_call>\n{GOOD}\n</tool_call>",
        f"a<tool_call>{GOOD}</tool_call>\n<tool_call>{GOOD}</tool_call>",
    ],
)
def test_verls_and_vllms_parsers_read_the_same_calls(text, tokenizer):
    from verl.experimental.agent_loop.tool_parser import ToolParser
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser

    ours = [(call.name, call.arguments) for call in read_calls(text)]
    ids = tokenizer.encode(text)
    _, verls = asyncio.run(ToolParser.get_tool_parser("hermes", tokenizer).extract_tool_calls(ids))
    assert [(call.name, json.loads(call.arguments)) for call in verls] == ours
    request = ChatCompletionRequest(model="m", messages=[])
    vllms = Hermes2ProToolParser(tokenizer).extract_tool_calls(text, request).tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in vllms] == ours
