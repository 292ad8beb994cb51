"""Options are refused by name before a run; plans fit into max_tokens and room, whatever the video."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError, NoRoomError, VideoRangeError
from longvt_plugins.tokens.budget import frame_tokens
from longvt_plugins.tools.options import CropOptions, Room, fit_room, read_options, window_policy
from longvt_plugins.video import SamplingPolicy, VideoInfo, plan_window


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"fpss": 1}, r"crop_video keys \['fpss'\]"),
        ({"finer_than": {"fpss": 1}}, r"crop_video.finer_than keys \['fpss'\]"),
        ({"finer_than": 2}, "crop_video.finer_than: 2: must be a mapping"),
        ({"finer_than": {"fps": "2"}}, "fps='2': must be a number"),
        ({"fps": "2"}, "fps='2': must be a number"),
        ({"max_frames": 2.5}, "max_frames=2.5: must be a whole number"),
        ({"max_tokens": "256"}, "max_tokens='256': must be a whole number"),
        ({"max_tokens": 256.5}, "max_tokens=256.5: must be a whole number"),
        ({"deadline_s": "60"}, "deadline_s='60': must be a number"),
        ({"video_root": 7}, "video_root=7: must be a path"),
        (
            {"rule": "index", "min_frames": 1, "max_tokens": 12},
            "max_tokens=12: must hold 2 frames .* of up to 10 tokens",
        ),
        ({"min_frames": 1, "max_tokens": 9}, "max_tokens=9: must hold 1 frames"),
    ],
)
def test_what_no_crop_can_be_made_with_is_refused_at_start(config, said):
    with pytest.raises(ConfigError, match=said):
        read_options(config)


def test_what_verl_and_the_recipes_write_is_read():
    options = read_options({"type": "native", "fps": 2, "max_tokens": None, "finer_than": {"fps": 1.0}})
    assert options == CropOptions(policy=SamplingPolicy(fps=2), finer_than=SamplingPolicy(fps=1.0))


sides = st.integers(16, 4000)
videos = st.builds(
    lambda size, frames, fps: VideoInfo("v.mp4", "1-1", size, "h264", np.arange(frames) / fps, frames / fps),
    st.tuples(sides, sides),
    st.integers(20, 1000),
    st.sampled_from([5.0, 25.0, 29.97]),
)


@st.composite
def crops(draw) -> CropOptions:
    patch = draw(st.sampled_from([28, 32]))
    least = draw(st.sampled_from([0, 3136, 65_536]) | st.integers(0, 80_000))
    lowest = max(least, patch**2)
    policy = SamplingPolicy(
        fps=draw(st.sampled_from([0.5, 1, 2])),
        min_frames=draw(st.integers(1, 4)),
        max_frames=draw(st.integers(4, 32)),
        max_pixels=draw(st.just(lowest) | st.integers(lowest, 300_000)),
        min_pixels=least,
        patch=patch,
        rule=draw(st.sampled_from(["display", "index"])),
    )
    smallest = (2 * policy.least_patches + 2) * max(2, policy.min_frames)
    tokens = draw(st.none() | st.integers(smallest, 20 * smallest))
    finer = draw(st.none() | st.just(SamplingPolicy(fps=0.5, max_frames=16, patch=patch)))
    return CropOptions(policy=policy, max_tokens=tokens, finer_than=finer)


@settings(deadline=None, max_examples=400)
@given(videos, crops(), st.floats(0, 0.9), st.integers(0, 4000), st.integers(0, 40), st.integers(0, 12))
def test_no_plan_exceeds_max_tokens_or_its_room(info, options, start, tokens, frames, label_tokens):
    start_s, patch = start * info.duration_s, options.policy.patch

    def cost(policy) -> tuple[int, int]:
        plan = plan_window(info, start_s, info.duration_s, policy)
        area = plan.size[0] * plan.size[1]
        assert math.ceil(policy.min_pixels / patch**2) * patch**2 <= area
        return len(plan.times_s), frame_tokens(plan.size, patch)

    try:
        policy = window_policy(info, start_s, info.duration_s, options)
        count, each = cost(policy)
    except VideoRangeError:
        assume(False)
    assert count <= options.policy.max_frames
    assert options.max_tokens is None or count * each <= options.max_tokens
    room = Room(tokens, frames, label_tokens)
    try:
        count, each = cost(fit_room(info, start_s, info.duration_s, policy, room))
    except NoRoomError:
        return
    assert count <= frames and count * (each + label_tokens) <= tokens


@given(sides, sides)
def test_frames_made_small_for_the_room_keep_their_shape(height, width):
    assume(max(height, width) < 4 * min(height, width))
    info = VideoInfo("v.mp4", "1-1", (height, width), "h264", np.arange(100) / 10, 10.0)
    policy = SamplingPolicy(min_frames=2, max_frames=4, patch=32, min_pixels=65_536, max_pixels=400_000)
    for tokens in range(2 * 66, 2 * 200, 7):
        try:
            fitted = fit_room(info, 0, 10, policy, Room(tokens, 4))
        except NoRoomError:
            assert tokens < 2 * 130
            continue
        size = plan_window(info, 0, 10, fitted).size
        bend = size[1] / size[0] * height / width
        assert max(bend, 1 / bend) < 1.5
