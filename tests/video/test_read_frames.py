"""Every frame handed out is the one asked for, in every kind of file. Oracle: a plain linear decode."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError, VideoDecodeError, VideoError, VideoOpenError, VideoRangeError
from longvt_plugins.testing.videos import decode_all, read_numbers, rotate, write_video
from longvt_plugins.video import probe, read_frames

KINDS = [
    "h264", "h264_no_b", "faststart", "fragmented", "negative_cts", "long_gop", "open_gop", "intra_refresh", "varying",
    "varying_mkv", "ntsc", "late_mp4", "late_mkv", "late_ts", "ts", "vp9", "hevc", "hevc_ts", "av1", "mpeg4",
    "mpeg2_ts", "ten_bit", "full_range", "odd_size", "one_frame", "two_frames", "with_audio", "hidden_start",
    "hidden_half_group",
]  # fmt: skip


def test_every_generated_kind_is_tested(good):
    assert sorted(good) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_reads_match_a_linear_decode(good, kind):
    times, pixels = decode_all(good[kind])
    info = probe(good[kind])
    np.testing.assert_allclose(info.times_s, times, atol=1e-6)
    random = np.random.default_rng(len(kind))
    picks = [[number] for number in {0, len(times) // 2, len(times) - 1}]
    picks += [np.sort(random.choice(len(times), min(len(times), count), replace=False)) for count in (2, 3, 5, 9)]
    for pick in picks:
        frames = read_frames(good[kind], times[pick])
        assert read_numbers(frames.pixels) == read_numbers(pixels[pick])
        np.testing.assert_array_equal(frames.pixels, pixels[pick])
        assert frames.pixels.dtype == np.uint8
        assert frames.times_s == tuple(info.times_s[pick])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "intra_refresh"])
def test_the_first_attempt_is_enough(good, kind, monkeypatch):
    # Later attempts repair what the first got wrong, so wrong first attempts would only show as time.
    from longvt_plugins.video.backends import pyav_backend

    starts, real = [], pyav_backend._Reader._attempt

    def counting(self, key, positions, lean):
        starts.append(key)
        real(self, key, positions, lean)

    monkeypatch.setattr(pyav_backend._Reader, "_attempt", counting)
    read_frames(good[kind], probe(good[kind]).times_s)
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("kind", ["h264", "open_gop", "varying", "late_ts", "vp9", "hidden_start"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shares=st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_any_times_give_the_frame_on_display(good, kind, shares):
    info = probe(good[kind])
    asked = np.array(shares) * info.duration_s
    frames = read_frames(good[kind], asked)
    expected = [max(time for time in info.times_s if time <= t + 1e-6) for t in asked]
    assert list(frames.times_s) == expected
    first = read_numbers(read_frames(good[kind], [0.0]).pixels)[0]
    shown = [int(np.flatnonzero(info.times_s == time)[0]) + first for time in expected]
    assert read_numbers(frames.pixels) == shown


def test_order_and_repeats_are_kept(good):
    frames = read_frames(good["h264"], [2.0, 0.5, 2.0])
    assert read_numbers(frames.pixels) == [60, 15, 60]


def test_no_times_no_frames(good):
    assert read_frames(good["h264"], [], (28, 56)).pixels.shape == (0, 28, 56, 3)


@pytest.mark.parametrize("time_s", [-0.1, 5.1, float("nan"), float("inf"), -float("inf"), 1e300])
def test_times_outside_the_video_are_refused(good, time_s):
    with pytest.raises(VideoRangeError, match=r"\[0, 5\.000\]"):
        read_frames(good["h264"], [time_s])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_videos_are_shown_upright(tmp_path, degrees):
    path = rotate(write_video(tmp_path / "turned.mp4", 40, size=(96, 160)), degrees)
    plain = write_video(tmp_path / "plain.mp4", 40, size=(96, 160))
    upright = np.stack([np.rot90(picture, -degrees // 90) for picture in read_frames(plain, [0.5, 1.0]).pixels])
    assert probe(path).size == upright.shape[1:3]
    np.testing.assert_array_equal(read_frames(path, [0.5, 1.0]).pixels, upright)


@pytest.mark.parametrize(("matrix", "red", "blue"), [("bt709", 0.2126, 0.0722), ("smpte170m", 0.299, 0.114)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_the_matrix_and_range_the_file_names(tmp_path, matrix, red, blue, full):
    import av

    path, plane = tmp_path / "colour.mp4", {"y": 120, "u": 90, "v": 170}
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = {"bt709": 1, "smpte170m": 6}[matrix]
        stream.codec_context.color_range = 2 if full else 1
        flat = np.concatenate([np.full(64 * 64, plane["y"]), np.full(1024, plane["u"]), np.full(1024, plane["v"])])
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(flat.astype(np.uint8).reshape(96, 64), "yuv420p")))
        container.mux(stream.encode(None))
    luma = plane["y"] if full else (plane["y"] - 16) * 255 / 219
    cb, cr = ((plane[name] - 128) * (1 if full else 255 / 224) for name in "uv")
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    pixel = read_frames(path, [0.08]).pixels[0, 32, 32]
    np.testing.assert_allclose(pixel, [r, g, b], atol=2.5)


@pytest.mark.parametrize("kind", ["h264", "odd_size", "full_range"])
def test_resizing_matches_the_reference_resize(good, kind):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.functional")
    _, pixels = decode_all(good[kind])
    tensor = torch.from_numpy(pixels[[10, 50, 90]]).permute(0, 3, 1, 2)
    expected = functional.resize(tensor, [56, 84], functional.InterpolationMode.BICUBIC, antialias=True)
    times = probe(good[kind]).times_s[[10, 50, 90]]
    got = read_frames(good[kind], times, (56, 84)).pixels
    assert np.abs(got.astype(int) - expected.permute(0, 2, 3, 1).numpy()).mean() <= 0.5


@pytest.mark.parametrize("backend", ["torchcodec", "opencv", "decord"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_backends_agree_or_refuse(good, kind, backend):
    pytest.importorskip({"opencv": "cv2"}.get(backend, backend))
    times = probe(good[kind]).times_s
    asked = times[np.unique(np.linspace(0, len(times) - 1, 4).astype(int))]
    truth = read_frames(good[kind], asked, (56, 84))
    try:
        frames = read_frames(good[kind], asked, (56, 84), backend=backend)
    except VideoError:
        return
    assert frames.times_s == truth.times_s
    assert read_numbers(frames.pixels) == read_numbers(truth.pixels)


@pytest.mark.parametrize(
    ("backend", "kinds"),
    [
        ("torchcodec", ["h264", "varying", "late_mkv", "vp9", "hevc", "av1", "odd_size"]),
        ("opencv", ["h264", "varying", "late_ts", "ts", "mpeg2_ts", "vp9", "hevc", "hidden_start"]),
        ("decord", ["h264", "varying", "late_mkv", "ntsc", "with_audio", "ten_bit"]),
    ],
)
def test_other_backends_serve_what_they_are_for(good, backend, kinds):
    pytest.importorskip({"opencv": "cv2"}.get(backend, backend))
    for kind in kinds:
        times = probe(good[kind]).times_s[[3, 20, 41]]
        truth = read_frames(good[kind], times, (56, 84)).pixels
        got = read_frames(good[kind], times, (56, 84), backend=backend).pixels
        assert np.abs(got.astype(int) - truth).mean() <= (4 if kind == "ten_bit" else 0.5), kind


def test_unknown_backends_are_named(good):
    with pytest.raises(ConfigError, match="pyav, torchcodec, opencv, decord"):
        read_frames(good["h264"], [0.0], backend="gstreamer")


@pytest.mark.parametrize("backend", ["pyav", "opencv", "torchcodec", "decord"])
def test_a_deadline_in_the_past_is_a_typed_error(good, backend):
    pytest.importorskip({"opencv": "cv2", "pyav": "av"}.get(backend, backend))
    with pytest.raises(VideoDecodeError, match="deadline"):
        read_frames(good["h264"], [1.0], backend=backend, deadline_s=-1)


def test_a_file_replaced_while_it_is_read_is_noticed(good, tmp_path, monkeypatch):
    from longvt_plugins.video.backends import pyav_backend

    path = tmp_path / "vanishing.mp4"
    path.write_bytes(good["h264"].read_bytes())
    real = pyav_backend._Reader.read_group

    def read_then_vanish(self, positions):
        real(self, positions)
        path.unlink(missing_ok=True)

    monkeypatch.setattr(pyav_backend._Reader, "read_group", read_then_vanish)
    with pytest.raises(VideoOpenError, match="cannot be read"):
        read_frames(path, [1.0, 3.0])
