"""Frames in messages, by reference."""

import pytest

from longvt_plugins.tokens.media import image_items, media_of, video_item, video_metadata
from longvt_plugins.types import MediaRef

A = MediaRef(path="/a.mp4", identity="1-1", times_s=(0.5, 1.5, 2.5), size=(28, 56))
B = MediaRef(path="/b.mp4", identity="2-2", times_s=(0.0,), size=(28, 56))


def message(*references):
    return {"role": "user", "content": [item for ref in references for item in image_items(ref, labels=True)]}


def test_references_come_back_as_they_went_in():
    assert media_of([message(A, B), {"role": "assistant", "content": "text"}, message(A)]) == [A, B, A]


def test_each_frame_follows_its_time():
    content = image_items(A, labels=True)
    assert [part["type"] for part in content] == ["text", "image"] * 3
    assert content[2]["text"] == "[1.5 s]" and content[3]["time_s"] == 1.5


def test_the_same_video_twice_stays_two_runs():
    assert media_of([message(A, A)]) == [A, A]


def test_images_of_other_origin_are_left_to_others():
    assert media_of([{"role": "user", "content": [{"type": "image", "image": "x.png"}]}]) == []


def test_without_labels_there_are_only_images():
    assert {item["type"] for item in image_items(A, labels=False)} == {"image"}


def test_a_video_is_one_item_and_does_not_merge_with_images():
    messages = [{"role": "user", "content": [video_item(A), *image_items(A, labels=False), video_item(A)]}]
    assert media_of(messages) == [A, A, A]


def test_metadata_tells_the_true_times_and_the_mean_rate():
    metadata = video_metadata(A.times_s)
    assert [index / metadata["fps"] for index in metadata["frames_indices"]] == list(A.times_s)
    mean_rate = len(A.times_s) / metadata["total_num_frames"] * metadata["fps"]
    assert mean_rate == pytest.approx(1.0)
