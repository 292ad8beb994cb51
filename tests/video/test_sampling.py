"""Windows, sizes and rules: within bounds always, and the reference's own frames under the index rule."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError, VideoRangeError
from longvt_plugins.video import SamplingPolicy, VideoInfo, plan_overview, plan_window
from longvt_plugins.video.sampling import fit_size, least_size


def video(frames: int, fps: float, size=(360, 640), times_s=None) -> VideoInfo:
    times_s = np.arange(frames) / fps if times_s is None else np.asarray(times_s)
    return VideoInfo("v.mp4", "1-1", size, "h264", times_s, float(times_s[-1] + 1 / fps))


videos = st.builds(video, st.integers(2, 20_000), st.sampled_from([7.5, 23.976, 25, 29.97, 30, 60]))


@settings(deadline=None)
@given(
    videos,
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.1, 8),
    st.integers(2, 64),
    st.sampled_from(["display", "index"]),
)
def test_plans_stay_in_the_window_and_in_bounds(info, one, other, fps, most, rule):
    start_s, end_s = (share * info.duration_s for share in sorted((one, other)))
    assume(start_s < end_s)
    policy = SamplingPolicy(fps=fps, max_frames=most, rule=rule)
    try:
        plan = plan_window(info, start_s, end_s, policy)
    except VideoRangeError:
        assert rule == "index" and (end_s - start_s) * info.fps < 3
        return
    assert 1 <= len(plan.times_s) <= most
    assert list(plan.times_s) == sorted(set(plan.times_s))
    assert set(plan.times_s) <= set(info.times_s.tolist())
    # The frame on display at a moment of the window may have appeared before it.
    on_display = info.times_s[np.searchsorted(info.times_s, start_s, side="right") - 1]
    # The index rule multiplies the end by the rate: the last frame may be a rounding error behind it.
    assert on_display <= plan.times_s[0] and plan.times_s[-1] <= end_s + 1e-9


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([14, 28, 32]), st.integers(2, 400))
def test_sizes_are_multiples_within_the_area(height, width, patch, patches):
    size = fit_size((height, width), patches * patch**2, patch, patch**2)
    assert all(side >= patch and side % patch == 0 for side in size)
    assert size[0] * size[1] <= patches * patch**2


@pytest.mark.parametrize(
    "window",
    [(5, 5), (6, 5), (-1, 5), (0, 11), (math.nan, 5), (0, math.nan), (-math.inf, 5), (0, math.inf), (1e300, 1e301)],
)
def test_windows_that_are_none_are_refused(window):
    with pytest.raises(VideoRangeError, match=r"0 <= start < end <= 10\.00 s"):
        plan_window(video(300, 30), *window, SamplingPolicy())


@pytest.mark.parametrize(
    "bad",
    [
        {"fps": 0},
        {"fps": math.nan},
        {"fps": math.inf},
        {"min_frames": 0},
        {"max_frames": 1},
        {"patch": 0},
        {"max_pixels": 100},
        {"min_pixels": 10**9},
        {"rule": "guess"},
        {"min_frames": 1, "max_frames": 1, "rule": "index"},
        {"fps": "2"},
        {"fps": True},
        {"max_frames": 2.5},
        {"max_pixels": "50176"},
        {"patch": None},
    ],
)
def test_policies_that_cannot_work_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad)) if len(bad) == 1 else "max_frames"):
        SamplingPolicy(**bad)


def test_true_times_decide_where_the_rate_varies():
    info = video(0, 30, times_s=[0, 0.1, 0.2, 0.3, 5.0, 9.0])
    plan = plan_window(info, 4.0, 9.0, SamplingPolicy(fps=1, max_frames=5))
    assert plan.times_s == (0.3, 5.0)


def test_the_overview_covers_the_video():
    plan = plan_overview(video(9000, 30), SamplingPolicy(fps=1, max_frames=30))
    assert len(plan.times_s) == 30
    assert plan.times_s[0] == pytest.approx(5) and plan.times_s[-1] == pytest.approx(295)


def test_the_index_rule_as_documented():
    info = video(108_000, 30)
    policy = SamplingPolicy(max_frames=128, rule="index")
    counts = [len(plan_window(info, 100, 100 + seconds, policy).times_s) for seconds in (3, 10, 60, 130)]
    assert counts == [2, 10, 60, 128]
    assert plan_window(info, 100, 103, policy) == plan_window(info, 100.001 - 0.001, 103, policy)
    assert plan_window(info, 100, 103, policy).times_s == (100.0, 103.0)
    assert plan_window(info, 0, 10, policy).size == (168, 280)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(600, 300_000),
    st.sampled_from([7.5, 23.976023976, 25, 29.97002997, 30, 60]),
    st.floats(0, 1),
    st.floats(0.3, 300),
    st.sampled_from([0.5, 1, 2, 4]),
    st.sampled_from([32, 128, 512]),
)
def test_the_index_rule_is_the_references(frames, fps, place, length_s, rate, most):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("qwen_vl_utils.vision_process")
    info = video(frames, fps)
    assume(info.duration_s > length_s)
    start_s = place * (info.duration_s - length_s)
    first, last, count = reference.calculate_video_frame_range(
        {"video_start": start_s, "video_end": start_s + length_s}, frames, info.fps
    )
    assume(count >= 4)
    number = reference.smart_nframes({"fps": rate, "min_frames": 2, "max_frames": most}, count, info.fps)
    expected = torch.linspace(first, last, number).round().long().tolist()
    policy = SamplingPolicy(fps=rate, min_frames=2, max_frames=most, rule="index")
    got = np.searchsorted(info.times_s, plan_window(info, start_s, start_s + length_s, policy).times_s)
    assert got.tolist() == expected


@st.composite
def bounds(draw):
    """``(patch, min_pixels, max_pixels)``, often as close together as they may be."""
    patch = draw(st.sampled_from([14, 28, 32]))
    least = draw(st.sampled_from([0, 3136, 65_536]) | st.integers(1, 200_000))
    lowest = max(least, patch**2)
    return patch, least, draw(st.just(lowest) | st.integers(lowest, 2 * lowest) | st.integers(lowest, 2_000_000))


@settings(deadline=None, max_examples=500)
@given(st.integers(1, 6000), st.integers(1, 6000), bounds())
def test_the_processor_leaves_every_size_as_it_is(height, width, limits):
    processor = pytest.importorskip("transformers.models.qwen2_vl.image_processing_qwen2_vl")
    patch, least, most = limits
    size = fit_size((height, width), most, patch, least)
    # Where no multiple lies between the bounds, the lower one holds.
    most = max(most, math.ceil(least / patch**2) * patch**2)
    assert least <= size[0] * size[1] <= most
    assume(max(size) <= 200 * min(size))
    assert processor.smart_resize(*size, factor=patch, min_pixels=least, max_pixels=most) == size


def bend(size, shape) -> float:
    """By how much the aspect ratio of ``size`` differs from that of ``shape``, as a factor."""
    ratio = size[1] / size[0] * shape[0] / shape[1]
    return max(ratio, 1 / ratio)


@given(st.integers(90, 2000), st.floats(1, 4))
def test_frames_keep_their_shape_between_bounds_that_suit_qwen3_vl(height, ratio):
    shape = (height, int(height * ratio))
    assert bend(fit_size(shape, 98_304, 32, 65_536), shape) < 1.25


@settings(deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000), bounds())
def test_the_least_size_is_no_larger_than_it_must_be_and_keeps_its_shape(height, width, limits):
    patch, least, most = limits
    policy = SamplingPolicy(patch=patch, min_pixels=least, max_pixels=most)
    size = least_size((height, width), policy)
    patches = size[0] * size[1] // patch**2
    assert policy.least_patches <= patches <= min(2 * policy.least_patches, policy.most_patches)
    ample = policy.most_patches >= 2 * policy.least_patches >= 32
    if ample and max(height, width) < 4 * min(height, width):
        assert bend(size, (height, width)) < 1.5


@given(st.integers(56, 4000), st.integers(56, 4000), st.sampled_from([12_544, 50_176, 200_704]))
def test_sizes_are_the_references(height, width, most):
    reference = pytest.importorskip("qwen_vl_utils.vision_process")
    assume(max(height, width) < 10 * min(height, width))
    assert fit_size((height, width), most, 28, 3136) == reference.smart_resize(height, width, 28, 3136, most)
