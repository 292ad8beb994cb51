"""Arguments are hostile: whatever they are, one outcome, and no file but the sample's is touched."""

import json
import os

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ToolCallError
from longvt_plugins.tools.arguments import CropRequest, read_arguments
from longvt_plugins.tools.crop_video import crop_video

OWN = ("/data/videos/first.mp4", "/data/videos/second.mp4")
WINDOW = {"start_time": 1, "end_time": 2}

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
numbers_as_text = st.sampled_from(
    ["1", "2.5", "-3", "nan", "inf", "-inf", "1e400", "0x10", "1_0", "\u0661", "", " 3 ", "12:30"]
)
paths = st.sampled_from(
    [
        "/etc/passwd",
        "../first.mp4",
        "/dev/zero",
        "http://127.0.0.1/a.mp4",
        "file:///data/videos/first.mp4",
        "first.mp4",
        "videos/second.mp4",
        OWN[1],
        "/",
        ".",
        "",
        "\0",
        "a" * 10_000,
        "/data/videos/../videos/first.mp4",
        "mp4",
    ]
)
values = st.recursive(
    scalars | numbers_as_text | paths | st.just(10**400) | st.just(-(10**4000)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
calls = (
    st.dictionaries(st.sampled_from(["start_time", "end_time", "video", "video_path", "fps", ""]), values, max_size=6)
    | st.fixed_dictionaries(
        {"start_time": values, "end_time": values}, optional={"video": values, "video_path": values}
    )
    | values
)


@settings(max_examples=600, deadline=None)
@given(calls, st.integers(0, 2))
def test_any_arguments_give_a_request_or_a_typed_error(arguments, count):
    try:
        request = read_arguments(arguments, OWN[:count])
    except ToolCallError as error:
        assert len(str(error)) < 300
        return
    assert 0 <= request.video < count
    assert all(abs(seconds) < float("inf") for seconds in (request.start_s, request.end_s))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls, st.booleans())
def test_any_call_gives_one_outcome_and_opens_only_own_videos(good, arguments, several):
    own = [str(good["h264"]), str(good["vp9"])][: 1 + several]
    opened, real = [], av.open

    def recording(path, *args, **options):
        opened.append(path)
        return real(path, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av, "open", recording)
        outcome = crop_video(arguments, own)
    assert set(opened) <= set(own)
    assert (
        (outcome.status == "ok")
        == (outcome.media is not None)
        == (outcome.span_s is not None)
        == (outcome.error is None)
    )
    assert outcome.status != "failed"
    if outcome.media is not None:
        assert outcome.media.path in own
    assert outcome.reply and outcome.tokens > 0
    json.loads(outcome.model_dump_json())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"end_time": 2}, "start_time: is missing"),
        ({"start_time": None, "end_time": 2}, "start_time: is missing"),
        ({"start_time": 1, "end_time": float("nan")}, "end_time: nan: must be a finite number"),
        ({"start_time": 1, "end_time": float("inf")}, "must be a finite number"),
        ({"start_time": 1, "end_time": 10**400}, "more than 15 digits: must be a finite number"),
        ({"start_time": True, "end_time": 2}, "True: must be a finite number"),
        ({"start_time": "1:30", "end_time": 2}, "'1:30': must be a finite number"),
        ({"start_time": [1], "end_time": 2}, "a list: must be a finite number"),
        ({**WINDOW, "fps": 30}, "'fps': is not an argument of crop_video"),
        ({**WINDOW, "video": 2}, "must be an index from 0 to 1"),
        ({**WINDOW, "video": -1}, "must be an index from 0 to 1"),
        ({**WINDOW, "video": 0.5}, "must be an index from 0 to 1"),
        ({**WINDOW, "video": True}, "must be an index from 0 to 1"),
        (WINDOW, "video: is missing, and there are 2"),
        ({**WINDOW, "video": 0, "video_path": OWN[1]}, "name different videos"),
        ([1, 2], "arguments must be a JSON object"),
        ("start_time=1", "arguments must be a JSON object"),
        (None, "arguments must be a JSON object"),
    ],
)
def test_replies_say_what_was_wrong_and_what_is_legal(arguments, said):
    with pytest.raises(ToolCallError) as caught:
        read_arguments(arguments, OWN)
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/other/first.mp4",
        "../videos/first.mp4",
        "/data/videos/../videos/first.mp4",
        "first",
        "irst.mp4",
        "",
        ".",
        "/",
        "file:///data/videos/first.mp4",
        "http://data/videos/first.mp4",
        "/dev/zero",
        7,
        ["/data/videos/first.mp4"],
    ],
)
def test_other_paths_are_refused(path):
    with pytest.raises(ToolCallError, match="is not a video of this question"):
        read_arguments({**WINDOW, "video_path": path}, OWN)


@pytest.mark.parametrize("path", [OWN[1], "second.mp4", "videos/second.mp4", "./second.mp4"])
def test_own_paths_are_accepted(path):
    assert read_arguments({**WINDOW, "video_path": path}, OWN) == CropRequest(1, 1.0, 2.0)


def test_a_name_two_videos_share_names_neither():
    own = ["/a/clip.mp4", "/b/clip.mp4"]
    with pytest.raises(ToolCallError):
        read_arguments({**WINDOW, "video_path": "clip.mp4"}, own)
    assert read_arguments({**WINDOW, "video_path": "b/clip.mp4"}, own).video == 1


def test_numbers_may_come_as_text_and_indices_as_floats():
    assert read_arguments({"start_time": "1.5", "end_time": " 2 ", "video": 1.0}, OWN) == CropRequest(1, 1.5, 2.0)


def test_no_videos_at_all():
    with pytest.raises(ToolCallError, match="has no video"):
        read_arguments(WINDOW, [])


def test_a_mapping_that_raises_is_malformed(good):
    class Trap(dict):
        def __iter__(self):
            raise RuntimeError("trap")

    assert crop_video(Trap(), [os.fspath(good["h264"])]).status == "malformed"
