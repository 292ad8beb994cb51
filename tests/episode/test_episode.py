"""The rules and the record of one trajectory, without an engine."""

import pytest

from longvt_plugins.episode import Episode, Limits
from longvt_plugins.errors import ConfigError, NoRoomError
from longvt_plugins.tools.crop_video import fault_outcome
from longvt_plugins.types import CropOutcome, Fault

OK = CropOutcome(status="ok", reply="4 frames.", span_s=(0.0, 1.0), times_s=(0.1, 0.4, 0.6, 0.9))
CALL = '<tool_call>{"name": "crop_video", "arguments": {"start_time": 0, "end_time": 1}}</tool_call>'
BROKEN = "<tool_call>{start: 0}</tool_call>"
ANSWER = "<think>seen</think><answer>red</answer>"


def play(limits, *texts, outcome=OK):
    """Drive an episode with what the policy writes; every executed call has ``outcome``."""
    episode = Episode(limits)
    replies = []
    for text in texts:
        step = episode.policy_turn(text, len(text))
        if step.ended_by:
            return episode.finish(step.ended_by), replies
        said = episode.reply([planned.refusal or outcome for planned in step.calls])
        episode.added(said, 9)
        replies.append([reply.text for reply in said])
    raise AssertionError("the episode goes on")


def test_calls_belong_to_the_turn_that_wrote_them():
    transcript, _ = play(Limits(), "first" + CALL, "second" + CALL, ANSWER)
    assert [record.turn for record in transcript.calls] == [0, 2]
    assert transcript.turns[2].text.startswith("second")
    assert transcript.ended_by == "answer" and transcript.limits_met == ()


def test_the_call_limit_is_announced_and_leaves_a_turn_to_answer():
    transcript, replies = play(Limits(max_calls=2), CALL, CALL, ANSWER)
    assert replies[0] == ["4 frames."]
    assert replies[1] == ["4 frames. All 2 tool calls are used. Answer now, without another call."]
    assert transcript.ended_by == "answer" and transcript.limits_met == ("calls",)
    assert len(transcript.crops_ok()) == 2


def test_a_call_after_the_last_is_recorded_and_not_executed():
    transcript, _ = play(Limits(max_calls=1), CALL, CALL + CALL)
    assert transcript.ended_by == "call_limit"
    assert [record.outcome.status for record in transcript.calls] == ["ok", "refused", "refused"]


def test_parallel_calls_come_back_in_order_up_to_the_limits():
    calls = "".join(CALL.replace("0,", f"{n},") for n in range(4))
    transcript, replies = play(Limits(max_calls=5, max_calls_per_turn=3), calls, calls, ANSWER)
    assert [record.outcome.status for record in transcript.calls] == ["ok"] * 3 + ["refused"] + ["ok"] * 2 + [
        "refused"
    ] * 2
    assert [record.call.arguments["start_time"] for record in transcript.calls] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert "a turn may hold 3 calls" in replies[0][3] and "all 5 calls are used" in replies[1][2]
    assert replies[1][3].endswith("Answer now, without another call.")


def test_malformed_calls_get_advice_and_have_their_own_limit():
    transcript, replies = play(Limits(max_malformed=2, max_calls=1), BROKEN, BROKEN, ANSWER)
    assert "is not JSON" in replies[0][0] and '"start_time"' in replies[0][0]
    assert replies[1][0].endswith(
        "2 calls could not be read, and no more are allowed. Answer now, without another call."
    )
    assert [record.outcome.status for record in transcript.calls] == ["malformed"] * 2
    assert transcript.limits_met == ("malformed",)


def test_an_unknown_tool_is_named_beside_those_there_are():
    _, replies = play(Limits(), CALL.replace("crop_video", "open_file"), ANSWER)
    assert "there is no such tool" in replies[0][0] and "crop_video" in replies[0][0]


def test_arguments_that_the_tool_cannot_read_count_as_malformed():
    bad = CropOutcome(status="malformed", reply="start_time: must be a finite number.")
    transcript, _ = play(Limits(max_malformed=2), CALL, CALL, ANSWER, outcome=bad)
    assert transcript.limits_met == ("malformed",)


def test_the_last_turn_is_announced():
    transcript, replies = play(Limits(max_turns=3), CALL, CALL, CALL)
    assert replies[1][0].endswith("One turn is left. Answer now, without another call.")
    assert transcript.ended_by == "turn_limit" and len(transcript.turns) == 5


def test_frames_are_counted_over_the_trajectory():
    transcript, replies = play(Limits(max_frames=8), CALL, CALL, ANSWER)
    assert "All 8 frames are used" in replies[1][0] and transcript.limits_met == ("frames",)


def test_a_crop_without_room_closes_the_trajectory():
    full = fault_outcome(NoRoomError("3 tokens left", "a frame takes 6", "Answer."))
    transcript, replies = play(Limits(), CALL, CALL, outcome=full)
    assert full.status == "refused" and "nearly full" in replies[0][0]
    assert transcript.ended_by == "room_limit"


@pytest.mark.parametrize("cut", ["length_limit", "vision_tokens"])
def test_a_turn_that_is_cut_ends_it_and_its_calls_are_kept(cut):
    episode = Episode(Limits())
    step = episode.policy_turn(CALL, 9, cut)
    assert step.ended_by == cut and step.calls == ()
    assert [record.outcome.status for record in episode.finish(cut).calls] == ["refused"]


def test_what_a_reply_quotes_is_no_mark_of_the_template():
    quoting = CropOutcome(status="foreign", reply="<|image_pad|> in </tool_response>, 3 < 4, \ud83d")
    transcript, replies = play(Limits(), CALL, ANSWER, outcome=quoting)
    assert replies == [["< |image_pad|> in < /tool_response>, 3 < 4, ?"]]
    assert transcript.turns[1].text == transcript.calls[0].outcome.text == replies[0][0]


def test_no_call_and_no_answer_is_told_apart():
    assert play(Limits(), "I do not know.")[0].ended_by == "no_answer"


def test_a_call_that_never_finished_is_not_lost():
    episode = Episode(Limits())
    episode.policy_turn(CALL + BROKEN, 9)
    fault = Fault(kind="OSError", message="gone")
    transcript = episode.finish("fault", fault)
    assert [record.outcome.status for record in transcript.calls] == ["failed", "malformed"]
    assert transcript.calls[0].outcome.error == fault


@pytest.mark.parametrize("wrong", [{"max_calls": -1}, {"max_turns": 0}, {"max_malformed": True}, {"max_frames": 1.5}])
def test_limits_that_leave_no_trajectory_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)
