"""Broken files: the right frames or one typed error, never a wrong or concealed frame."""

import numpy as np
import pytest

from longvt_plugins.errors import VideoDecodeError, VideoError, VideoOpenError, VideoRangeError
from longvt_plugins.testing.videos import bad_files, cut, damage, decode_all, read_numbers, write_video
from longvt_plugins.video import probe, read_frames

NAMES = [
    "cut_without_moov", "audio_only", "missing", "directory", "dangling", "device", "fifo", "empty", "text", "random",
    "zeros", "header_only", "playlist", "concat",
]  # fmt: skip


def test_every_bad_file_is_tested(tmp_path):
    assert sorted(bad_files(tmp_path)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_video_does_not_open(bad, name):
    for use in (probe, lambda path: read_frames(path, [0.0])):
        with pytest.raises(VideoOpenError) as caught:
            use(bad[name])
        assert str(bad[name]) in str(caught.value)
        assert caught.value.rule and caught.value.remedy


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/a.mp4", "file:///etc/passwd", "concat:a|b", "\0.mp4", "x" * 5000])
def test_what_is_no_path_does_not_open(path):
    with pytest.raises(VideoOpenError):
        probe(path)


def test_no_permission(good, tmp_path):
    import os

    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "locked.mp4"
    path.write_bytes(good["h264"].read_bytes())
    path.chmod(0)
    with pytest.raises(VideoOpenError):
        probe(path)


def test_a_cut_file_gives_what_is_left_of_it(good, tmp_path):
    path = cut(good["faststart"], tmp_path / "cut.mp4", 0.6)
    assert read_numbers(read_frames(path, [0.5, 1.0]).pixels) == [15, 30]
    assert probe(path).duration_s == 5.0
    with pytest.raises(VideoDecodeError, match=r"the frame at 4\.500 s does not come out"):
        read_frames(path, [1.0, 4.5])


def test_tables_longer_than_the_file_give_way_to_its_packets(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 150, codec="mpeg4", container_options={"movflags": "faststart"})
    path = cut(whole, tmp_path / "cut.mp4", 0.6)
    assert probe(path).duration_s == 5.0
    with pytest.raises(VideoRangeError, match=r"a time must lie in \[0, \d\.\d+\]"):
        read_frames(path, [1.0, 4.9])
    assert 2 < probe(path).duration_s < 4


@pytest.mark.parametrize("kind", ["late_mkv", "late_ts", "vp9", "fragmented"])
def test_cut_files_without_tables_end_where_they_are_cut(good, tmp_path, kind):
    path = cut(good[kind], tmp_path / f"cut{good[kind].suffix}", 0.6)
    info = probe(path)
    assert 0.5 < info.duration_s < 3.9
    for number in range(0, len(info.times_s), 7):
        try:
            assert read_numbers(read_frames(path, info.times_s[[number]]).pixels) == [number]
        except VideoDecodeError:
            # The last picture may be torn.
            assert number > len(info.times_s) - 4


@pytest.mark.parametrize("kind", ["h264_no_b", "hevc", "vp9", "late_ts", "late_mkv", "mpeg4", "open_gop"])
@pytest.mark.parametrize("seed", range(3))
def test_damage_stays_in_its_group_of_pictures(good, tmp_path, kind, seed):
    path = damage(good[kind], tmp_path / f"damaged{good[kind].suffix}", 0.4, 0.6, seed)
    _, intact = decode_all(good[kind])
    truth = probe(good[kind]).times_s
    times = probe(path).times_s
    for number, exact in [
        (0, True),
        (20, True),
        *((n, False) for n in range(30, 90, 5)),
        (95, True),
        (len(truth) - 1, True),
    ]:
        if np.abs(times - truth[number]).min() > 1e-3:
            # The demuxer lost the packet: the file no longer holds this frame.
            assert not exact
            continue
        try:
            frames = read_frames(path, [truth[number]])
        except VideoDecodeError:
            assert not exact
            continue
        assert abs(frames.times_s[0] - truth[number]) < 1e-3
        if exact:
            np.testing.assert_array_equal(frames.pixels[0], intact[number])


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    directory = tmp_path_factory.mktemp("large")
    make = {suffix: write_video(directory / f"large.{suffix}", 90, size=(288, 512)) for suffix in ("mp4", "mkv", "ts")}
    make["hevc"] = write_video(directory / "hevc.mp4", 90, size=(288, 512), codec="libx265")
    return {kind: (path, probe(path).times_s, decode_all(path)[1]) for kind, path in make.items()}


def shown_wrong(path, times, intact) -> tuple[int, int]:
    """How many frames of a damaged file are refused, and how many differ from the intact file's."""
    refused = wrong = 0
    for number in range(0, len(times), 3):
        try:
            frames = read_frames(path, [times[number]])
        except VideoError:
            refused += 1
            continue
        if abs(frames.times_s[0] - times[number]) < 1e-3:
            wrong += not np.array_equal(frames.pixels[0], intact[number])
    return refused, wrong


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "hevc"])
@pytest.mark.parametrize("place", [0.35, 0.42, 0.5, 0.57])
def test_holes_are_refused_not_decoded(large, tmp_path, kind, place):
    whole, times, intact = large[kind]
    data = bytearray(whole.read_bytes())
    at = int(len(data) * place)
    data[at : at + 4096] = bytes(4096)
    path = tmp_path / f"hole{whole.suffix}"
    path.write_bytes(data)
    refused, wrong = shown_wrong(path, times, intact)
    assert wrong == 0
    assert refused < len(times) // 3


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_damaged_h264_is_refused_not_concealed(large, tmp_path, kind, seed):
    whole, times, intact = large[kind]
    path = damage(whole, tmp_path / f"damaged{whole.suffix}", 0.4, 0.6, seed, flips=60)
    refused, wrong = shown_wrong(path, times, intact)
    assert wrong == 0
    assert 0 < refused < len(times) // 3


def test_frames_made_of_a_damaged_one_are_forgotten_with_it(good):
    from types import SimpleNamespace

    import av

    from longvt_plugins.video.backends.pyav_backend import _Reader
    from longvt_plugins.video.mp4 import read_tables

    index = read_tables(str(good["h264"]))
    reader = _Reader("v.mp4", index, SimpleNamespace(codec=SimpleNamespace(name="h264", extradata=None)), None, None)
    # A picture shown before its reference is decoded after it.
    reference = next(p for p in range(20, 60) if index.pts[p + 1] < index.pts[p])
    before, after, made_of_it = (int(index.pts[p]) for p in (reference - 1, reference + 4, reference + 1))
    reader.taken = dict.fromkeys((before, after, made_of_it))
    with pytest.raises(av.InvalidDataError):
        reader._take(SimpleNamespace(is_corrupt=True, pts=int(index.pts[reference])), frozenset())
    assert set(reader.taken) == {before}


def test_frames_before_the_first_keyframe_are_not_counted(tmp_path):
    import av

    whole = write_video(tmp_path / "whole.ts", 90, gop=30)
    with av.open(whole) as source, av.open(tmp_path / "late.ts", "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(packet for packet in source.demux(stream) if packet.size):
            if number > 10:
                packet.stream = copy
                target.mux(packet)
    info = probe(tmp_path / "late.ts")
    assert len(info.times_s) == 60
    assert read_numbers(read_frames(tmp_path / "late.ts", [0.0, 1.0]).pixels) == [30, 60]
