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
        ([{"role": "assistant", "content": CALL}, {"role": "tool", "content": "{'error': 'no such video'}"}], "failed"),
        ([{"role": "assistant", "content": CALL}, {"role": "tool", "content": '{"error": "late"}'}], "failed"),
        ([{"role": "assistant", "content": CALL}, {"role": "tool", "content": "No frames. No room."}], "failed"),
        ([{"role": "assistant", "content": CALL}, {"role": "tool", "content": "Not called: all are used."}], "failed"),
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


def test_an_answer_belongs_to_the_message_before_it():
    junk = {"role": "assistant", "content": CALL.replace("10", "900").replace("12", "902") + CALL}
    after = {"role": "assistant", "content": CALL.replace("10", "40").replace("12", "42")}
    transcript = transcript_of_messages(conversation(junk, REPLY, after, REPLY))
    assert [(call.outcome.status, call.outcome.span_s) for call in transcript.calls] == [
        ("ok", (900.0, 902.0)),
        ("failed", None),
        ("ok", (40.0, 42.0)),
    ]


def test_answers_are_given_by_id_where_they_name_one():
    asking = {"role": "assistant", "content": "", "tool_calls": [{"id": name, **TOOL_CALL} for name in "ab"]}
    replies = [
        {"role": "tool", "tool_call_id": "b", "content": "4 frames"},
        {"role": "tool", "tool_call_id": "a", "content": "Error"},
        {"role": "tool", "tool_call_id": "c", "content": "4 frames"},
    ]
    transcript = transcript_of_messages(conversation(asking, *replies))
    assert [call.outcome.status for call in transcript.calls] == ["failed", "ok"]


@pytest.mark.parametrize(
    ("reply", "span_s"),
    [
        ("3 frames of 10.00 to 12.00 s.", (10.0, 12.0)),
        ("1 frame of 10.00 to 11.50 s. You asked for 10 to 12 s; the video has 0 to 11.5 s.", (10.0, 11.5)),
        ("Frames of 1.00 to 2.00 s.", (10.0, 12.0)),
    ],
)
def test_a_window_that_our_tool_cut_to_the_video_is_the_one_it_showed(reply, span_s):
    messages = conversation({"role": "assistant", "content": CALL}, {"role": "tool", "content": reply})
    (crop,) = transcript_of_messages(messages).crops_ok()
    assert crop.span_s == span_s


def test_a_call_that_nobody_could_read_takes_no_other_calls_answer():
    asking = {"role": "assistant", "content": "<tool_call>{oops</tool_call>" + CALL}
    transcript = transcript_of_messages(conversation(asking, REPLY))
    assert [call.outcome.status for call in transcript.calls] == ["malformed", "ok"]
    answered = transcript_of_messages(conversation(asking, {"role": "tool", "content": "Error"}, REPLY))
    assert [call.outcome.reply for call in answered.calls] == ["Error", "4 frames"]


def test_text_is_split_at_the_tools_answers():
    text = (
        f"<think>Look.</think>{CALL}<|im_end|>\n<|im_start|>user\n<tool_response>\n4 frames\n</tool_response>{ANSWER}"
    )
    transcript = transcript_of_text(text)
    assert [turn.role for turn in transcript.turns] == ["assistant", "tool", "assistant"]
    record = compute_reward(transcript, "red", ["red", "blue"], [(10, 12)])
    assert (record.acc, record.format, record.grounding) == (1.0, 1.0, 1.0)
    assert transcript_of_text(ANSWER).crops_ok() == () and transcript_of_text("").turns == ()
