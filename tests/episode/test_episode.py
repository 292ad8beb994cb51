"""The rules and the record of one trajectory."""

from longvt_plugins.episode import Episode, Limits
from longvt_plugins.types import CropOutcome, Fault

OK = CropOutcome(status="ok", reply="4 frames", span_s=(0.0, 1.0))


def test_calls_belong_to_the_turn_that_wrote_them():
    episode = Episode(Limits())
    for turn in range(2):
        episode.turn("assistant", f"turn {turn}", 3)
        number, refused = episode.open_call("crop_video", '{"start_time": 0}')
        assert refused is None
        episode.close_call(number, OK)
        episode.turn("tool", "4 frames", 9)
    transcript = episode.finish("turn_limit")
    assert [record.turn for record in transcript.calls] == [0, 2]
    assert transcript.turns[transcript.calls[1].turn].text == "turn 1"


def test_the_limit_counts_every_call_of_the_trajectory():
    episode = Episode(Limits(max_calls=2))
    episode.turn("assistant", "", 1)
    verdicts = [episode.open_call("crop_video", "{}")[1] for _ in range(4)]
    assert [v and v.status for v in verdicts] == [None, None, "refused", "refused"]
    assert "All 2 tool calls are used" in verdicts[2].reply


def test_arguments_that_are_not_an_object_are_malformed():
    episode = Episode(Limits())
    episode.turn("assistant", "", 1)
    for arguments in ("[1]", "null", "{", "1e999", "[" * 100_000):
        assert episode.open_call("crop_video", arguments)[1].status == "malformed"


def test_a_call_that_never_finished_is_not_lost():
    episode = Episode(Limits())
    episode.turn("assistant", "", 1)
    episode.open_call("crop_video", "{}")
    fault = Fault(kind="OSError", message="gone")
    transcript = episode.finish("fault", fault)
    assert transcript.calls[0].outcome.status == "failed" and transcript.calls[0].outcome.error == fault
