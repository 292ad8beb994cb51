"""Frames in messages, by reference."""

from longvt_plugins.tokens import frames_time
from longvt_plugins.types import MediaRef

A = MediaRef(path="/a.mp4", identity="1-1", times_s=(0.5, 1.5, 2.5), size=(28, 56))
B = MediaRef(path="/b.mp4", identity="2-2", times_s=(0.0,), size=(28, 56))


def message(*references):
    return {"role": "user", "content": [item for ref in references for item in frames_time.content_of(ref)]}


def test_references_come_back_as_they_went_in():
    assert frames_time.media_of([message(A, B), {"role": "assistant", "content": "text"}, message(A)]) == [A, B, A]


def test_each_frame_follows_its_time():
    content = frames_time.content_of(A)
    assert [part["type"] for part in content] == ["text", "image"] * 3
    assert content[2]["text"] == "[1.5 s]" and content[3]["time_s"] == 1.5


def test_the_same_video_twice_stays_two_runs():
    assert frames_time.media_of([message(A, A)]) == [A, A]


def test_images_of_other_origin_are_left_to_others():
    assert frames_time.media_of([{"role": "user", "content": [{"type": "image", "image": "x.png"}]}]) == []
