"""Transcripts out of messages and text."""

import pytest

from longvt_plugins.reward import compute_reward, transcript_of_messages, transcript_of_text

CALL = '<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 10, "end_time": 12}}\n</tool_call>'
TOOL_CALL = {"function": {"name": "crop_video", "arguments": '{"start_time": 10, "end_time": 12}'}}
REPLY = {"role": "tool", "content": "4 frames"}
ANSWER = "<think>Seen.</think><answer>red</answer>"


def conversation(*middle, answer=ANSWER):
    return [{"role": "user", "content": "Which colour?"}, *middle, {"role": "assistant", "content": answer}]


@pytest.mark.parametrize(
    "asking",
    [
        {"role": "assistant", "content": CALL},
        {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
        {"role": "assistant", "content": [{"type": "text", "text": CALL}]},
    ],
)
def test_a_call_that_the_tool_answered_was_executed(asking):
    transcript = transcript_of_messages(conversation(asking, {"role": "tool", "content": "4 frames"}))
    (crop,) = transcript.crops_ok()
    assert crop.span_s == (10.0, 12.0) and transcript.ended_by == "answer"
    record = compute_reward(transcript, "red", ["red", "blue"], [(10, 12)])
    assert (record.acc, record.format, record.grounding) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([{"role": "assistant", "content": CALL}], "failed"),
        ([{"role": "assistant", "content": CALL}, {"role": "tool", "content": "Error: no such video"}], "failed"),
        ([{"role": "assistant", "content": CALL + "<tool_response>4 frames</tool_response>"}], "failed"),
        ([{"role": "assistant", "content": "<tool_call>{oops</tool_call>"}, REPLY], "malformed"),
        ([{"role": "assistant", "content": CALL.replace("12", '"x"')}, REPLY], "malformed"),
        ([{"role": "assistant", "content": CALL.replace("crop_video", "zoom")}, REPLY], "malformed"),
    ],
)  # fmt: skip
def test_other_calls_ground_nothing(messages, status):
    transcript = transcript_of_messages(conversation(*messages))
    assert [call.outcome.status for call in transcript.calls] == [status]
    assert compute_reward(transcript, "red", ["red", "blue"], [(10, 12)]).grounding == 0.0


def test_parallel_calls_get_their_own_answers():
    asking = {"role": "assistant", "content": "", "tool_calls": [TOOL_CALL, TOOL_CALL]}
    replies = [{"role": "tool", "content": "Error"}, {"role": "tool", "content": "4 frames"}]
    transcript = transcript_of_messages(conversation(asking, *replies))
    assert [call.outcome.status for call in transcript.calls] == ["failed", "ok"]


def test_text_is_split_at_the_tools_answers():
    text = (
        f"<think>Look.</think>{CALL}<|im_end|>\n<|im_start|>user\n<tool_response>\n4 frames\n</tool_response>{ANSWER}"
    )
    transcript = transcript_of_text(text)
    assert [turn.role for turn in transcript.turns] == ["assistant", "tool", "assistant"]
    record = compute_reward(transcript, "red", ["red", "blue"], [(10, 12)])
    assert (record.acc, record.format, record.grounding) == (1.0, 1.0, 1.0)
    assert transcript_of_text(ANSWER).crops_ok() == () and transcript_of_text("").turns == ()
