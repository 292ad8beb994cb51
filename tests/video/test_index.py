"""The mp4 tables tell what the demuxer tells, or nothing; hostile tables cost neither time nor memory."""

import dataclasses
import importlib
import itertools
import os
import signal
import struct
import time

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import VideoDecodeError, VideoError
from longvt_plugins.testing.videos import decode_all, read_numbers, write_video
from longvt_plugins.video import probe, read_frames
from longvt_plugins.video.mp4 import read_tables
from longvt_plugins.video.packets import scan_packets

probe_module = importlib.import_module("longvt_plugins.video.probe")

PLAIN = [
    "h264", "h264_no_b", "faststart", "long_gop", "open_gop", "intra_refresh", "varying", "ntsc", "hevc", "av1",
    "mpeg4", "ten_bit", "full_range", "odd_size", "one_frame", "two_frames", "with_audio", "late_mp4", "negative_cts",
]  # fmt: skip


@pytest.mark.parametrize("kind", PLAIN)
def test_tables_tell_what_the_demuxer_tells(good, kind):
    tables, packets = read_tables(str(good[kind])), scan_packets(str(good[kind]))
    for name in ("pts", "key", "shown"):
        np.testing.assert_array_equal(getattr(tables, name), getattr(packets, name), err_msg=name)
    # Where offsets are negative the demuxer counts decoding from earlier.
    np.testing.assert_array_equal(tables.dts - tables.dts[0], packets.dts - packets.dts[0])
    for name in ("time_base", "size", "rotation", "codec"):
        assert getattr(tables, name) == getattr(packets, name), name
    # How long the last frame of a varying rate stays is anyone's guess.
    assert tables.end_pts == packets.end_pts or kind == "varying"


@pytest.mark.parametrize("kind", ["fragmented", "hidden_start", "hidden_half_group", "late_mkv", "ts", "vp9"])
def test_what_only_the_demuxer_can_tell_is_left_to_it(good, kind):
    assert read_tables(str(good[kind])) is None


@pytest.mark.parametrize("kind", ["h264", "mpeg4"])
def test_tables_that_mislead_are_read_again_by_packets(good, kind, monkeypatch):
    # An index that is one group of pictures off: on a steady rate, nothing but the start tells.
    def shifted(path):
        index = read_tables(path)
        second = np.flatnonzero(index.key)[1]
        return dataclasses.replace(
            index, pts=index.pts + int(index.pts[second]), dts=index.dts + int(index.pts[second]), samples=None
        )

    monkeypatch.setattr(probe_module, "read_tables", shifted)
    _, pixels = decode_all(good[kind])
    np.testing.assert_array_equal(read_frames(good[kind], [1.0, 2.0]).pixels, pixels[[30, 60]])


@pytest.mark.parametrize("kind", PLAIN)
def test_samples_lie_where_the_demuxer_finds_them(good, kind):
    index = read_tables(str(good[kind]))
    if index.codec not in ("h264", "hevc"):
        assert index.samples is None
        return
    with av.open(str(good[kind])) as container:
        packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        assert index.samples.offsets.tolist() == [packet.pos for packet in packets]
        assert index.samples.sizes.tolist() == [packet.size for packet in packets]
        assert index.samples.extradata == container.streams.video[0].codec_context.extradata


def test_colours_only_the_container_states_are_left_to_the_demuxer(tmp_path):
    path = write_video(tmp_path / "plain.mp4", 30)
    assert read_tables(str(path)).samples is not None
    data = path.read_bytes()
    # The box of the bit rate becomes one of colours.
    assert data.count(b"btrt") == 1
    path.write_bytes(data.replace(b"btrt", b"colr"))
    assert read_tables(str(path)).samples is None


def test_scans_are_shared_by_the_node(good, monkeypatch):
    first = probe(good["late_mkv"])
    monkeypatch.setattr(probe_module, "_indices", probe_module.OrderedDict())
    monkeypatch.setattr(probe_module, "scan_packets", lambda path, deadline: pytest.fail("scanned twice"))
    again = probe(good["late_mkv"])
    np.testing.assert_array_equal(first.times_s, again.times_s)
    assert (first.duration_s, first.size, first.codec) == (again.duration_s, again.size, again.codec)


def test_a_scan_ends_at_the_deadline(good, store):
    with pytest.raises(VideoDecodeError, match="was not read before the deadline"):
        probe(good["late_mkv"], deadline=time.monotonic() - 1)
    assert len(probe(good["h264"], deadline=time.monotonic() - 1).times_s)


def test_a_fork_does_not_wait_for_a_lock_of_its_parent(good):
    with probe_module._guard:
        child = os.fork()
        if child == 0:
            # Ends a child that waits for the parent's lock.
            signal.alarm(60)
            os._exit(len(probe(good["h264"]).times_s) == 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_changed_file_is_indexed_again(tmp_path):
    path = write_video(tmp_path / "a.mp4", 30)
    assert len(probe(path).times_s) == 30
    write_video(path, 45)
    assert len(probe(path).times_s) == 45


def test_an_empty_sample_is_no_frame(good, tmp_path):
    """Muxers write one to repeat a frame; a demuxer gives nothing for it."""
    data = bytearray(good["h264"].read_bytes())
    sizes = data.index(b"stsz")
    count = struct.unpack_from(">I", data, sizes + 12)[0]
    struct.pack_into(">I", data, sizes + 16 + 4 * (count - 1), 0)
    path = tmp_path / "empty.mp4"
    path.write_bytes(data)
    assert read_tables(str(path)) is None
    times_s, pixels = decode_all(path)
    assert len(times_s) == count - 1 == len(probe(path).times_s)
    np.testing.assert_array_equal(read_frames(path, times_s[-1:]).pixels[0], pixels[-1])


@pytest.mark.parametrize("box", [b"stts", b"ctts", b"stss", b"elst", b"stsd", b"stsz", b"stsc", b"stco"])
def test_counts_a_file_cannot_hold_take_no_memory(good, tmp_path, box):
    import tracemalloc

    data = bytearray(good["faststart"].read_bytes())
    at = data.index(box)
    for field, value in itertools.product((8, 12), (0xFFFFFFFF, 0x7FFFFFFF, 1 << 28, 1 << 24, 0)):
        data = bytearray(good["faststart"].read_bytes())
        struct.pack_into(">I", data, at + field, value)
        path = tmp_path / "hostile.mp4"
        path.write_bytes(data)
        tracemalloc.start()
        read_tables(str(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 32 << 20


# The same cases in every run: among random ones are files that contradict themselves, which no oracle can judge.
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_fuzzed_tables_give_right_frames_or_a_typed_error(good, tmp_path, changes):
    data = bytearray(good["faststart"].read_bytes())
    start, end = data.index(b"moov"), data.index(b"mdat")
    for place, value in changes:
        data[start + int(place * (end - start - 1))] = value
    path = tmp_path / "fuzzed.mp4"
    path.write_bytes(data)
    try:
        info = probe(path)
        frames = read_frames(path, info.times_s[[0, len(info.times_s) // 2]])
    except VideoError:
        return
    try:
        times, pixels = decode_all(path)
    except av.FFmpegError:
        # The oracle decodes all there is; damage elsewhere is no business of these frames.
        return
    for time_s, picture in zip(frames.times_s, frames.pixels, strict=True):
        same_time = np.flatnonzero(np.abs(times - time_s) < 1e-3)
        assert any(np.array_equal(picture, np.rot90(pixels[n], k)) for n in same_time for k in range(4))


def test_two_frames_for_one_moment_are_refused(tmp_path):
    source = write_video(tmp_path / "source.mkv", 60, b_frames=0)
    with av.open(source) as container, av.open(tmp_path / "twice.mkv", "w") as target:
        stream = container.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.size:
                # Frame 41 takes the time of frame 40.
                packet.pts = packet.dts = 1333 if packet.pts in (1333, 1367) else packet.pts
                packet.stream = copy
                target.mux(packet)
    assert len(probe(tmp_path / "twice.mkv").times_s) == 59
    assert read_numbers(read_frames(tmp_path / "twice.mkv", [1.0]).pixels) == [30]
    with pytest.raises(VideoDecodeError, match="two frames for one moment"):
        read_frames(tmp_path / "twice.mkv", [1.34])
