"""What a call returns: frames with their times, a reply to learn from, and never an exception."""

import fcntl
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longvt_plugins.errors import ConfigError
from longvt_plugins.testing.videos import read_numbers, write_video
from longvt_plugins.tokens.budget import frame_tokens
from longvt_plugins.tools.crop_video import CropOptions, crop_video
from longvt_plugins.tools.options import Room
from longvt_plugins.video import SamplingPolicy, clip_store, node_store, plan_overview, probe
from longvt_plugins.video.node_store import NodeStore

SMALL = SamplingPolicy(fps=2, max_frames=16, max_pixels=56 * 84, patch=28)


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    return str(
        write_video(tmp_path_factory.mktemp("crop") / "v.mp4", 600, size=(224, 392), codec_options={"crf": "30"})
    )


def crop(video, start, end, **options):
    return crop_video({"start_time": start, "end_time": end}, [video], CropOptions(**({"policy": SMALL} | options)))


def test_frames_and_their_times(video):
    outcome = crop(video, 4, 6)
    assert outcome.status == "ok" and outcome.error is None
    assert outcome.span_s == (4.0, 6.0)
    assert outcome.times_s == outcome.media.times_s == pytest.approx((4.2333, 4.7333, 5.2333, 5.7333), abs=1e-3)
    assert outcome.reply == "4 frames of 4.00 to 6.00 s."
    assert outcome.text_with_times().endswith("s. Frame times in seconds: 4.23, 4.73, 5.23, 5.73.")
    pixels = clip_store.get(outcome.media)
    assert read_numbers(pixels) == [127, 142, 157, 172]
    assert outcome.digest == blake2b(pixels.tobytes(), digest_size=16).hexdigest()
    assert outcome.tokens > 4 * frame_tokens(outcome.media.size, 28)


def test_a_window_past_the_end_is_cut_and_the_reply_says_so(video):
    outcome = crop(video, -3, 500)
    assert outcome.span_s == (0.0, 20.0)
    assert "You asked for -3 to 500 s; the video has 0 to 20.00 s." in outcome.reply


def test_or_refused_where_the_options_say_so(video):
    outcome = crop(video, 15, 25, beyond="refuse")
    assert outcome.status == "refused" and outcome.media is None and outcome.span_s is None
    assert "0 to 20.00 s" in outcome.reply and outcome.error.kind == "VideoRangeError"
    assert crop(video, 15, 20, beyond="refuse").status == "ok"


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (6, 4, "end_time must be greater"),
        (4, 4, "end_time must be greater"),
        (20, 30, "0 to 20.00"),
        (-9, -1, "0 to 20.00"),
    ],
)
def test_windows_that_are_none_are_refused_with_the_legal_range(video, start, end, said):
    outcome = crop(video, start, end)
    assert outcome.status == "refused" and said in outcome.reply and "<= 20.00" in outcome.reply


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(-50, 50), st.floats(-50, 50))
def test_any_window_gives_its_own_frames(video, start, end):
    outcome = crop(video, start, end)
    if outcome.status != "ok":
        assert start >= end or end <= 0 or start >= 20
        return
    numbers = read_numbers(clip_store.get(outcome.media))
    assert numbers == [round(time_s * 30) for time_s in outcome.times_s]
    assert outcome.span_s == (max(0.0, start), min(20.0, end))
    assert numbers[0] >= int(outcome.span_s[0] * 30 + 1e-6) and numbers[-1] / 30 <= outcome.span_s[1]


def test_the_video_is_chosen_among_the_samples(video, good):
    window = {"start_time": 1, "end_time": 2}
    videos = [str(good["vp9"]), video]
    assert crop_video({**window, "video": 1}, videos).media.path == video
    assert crop_video({**window, "video_path": videos[0]}, videos).media.path == videos[0]
    assert crop_video(window, videos).status == "malformed"


@pytest.mark.parametrize(
    "name",
    ["cut_without_moov", "audio_only", "missing", "directory", "device", "fifo", "empty", "text", "random", "playlist"],
)
def test_files_that_are_no_videos_fail_that_call_alone(bad, name):
    outcome = crop(str(bad[name]), 1, 2)
    assert outcome.status == "failed" and outcome.error.kind == "VideoOpenError"
    assert str(bad[name]) in outcome.error.message
    assert str(bad[name].parent) not in outcome.reply


def test_a_deadline_ends_as_a_failed_call(video):
    outcome = crop(video, 0, 20, deadline_s=1e-9)
    assert outcome.status == "failed" and outcome.error.kind == "VideoDecodeError"
    assert "shorter" in outcome.reply


def test_the_deadline_bounds_the_wait_for_another_process_that_plans(video, store, monkeypatch):
    keys, fetch = [], NodeStore.fetch
    monkeypatch.setattr(NodeStore, "fetch", lambda kept, key, *rest: (keys.append(key), fetch(kept, key, *rest))[1])
    assert crop(video, 4, 6, deadline_s=2).status == "ok"
    for path in store.glob("??/*"):
        path.unlink()
    monkeypatch.setattr(node_store, "_store", None)
    # Without the deadline, the wait for a lock ends here.
    monkeypatch.setattr(node_store, "LOCK_WAIT_S", 20.0)
    with open(store / keys[0][:2] / f"{keys[0]}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = crop(video, 4, 6, deadline_s=2)
    assert outcome.status == "failed" and "deadline" in outcome.error.message
    assert outcome.seconds < 10


def test_links_out_of_the_video_root_are_refused(video, tmp_path):
    inside, outside = tmp_path / "root", tmp_path / "outside"
    inside.mkdir(), outside.mkdir()
    (outside / "v.mp4").write_bytes(Path(video).read_bytes())
    (inside / "own.mp4").write_bytes(Path(video).read_bytes())
    (inside / "link.mp4").symlink_to(outside / "v.mp4")
    (inside / "good_link.mp4").symlink_to(inside / "own.mp4")
    root = {"video_root": str(inside)}
    for name in ("own.mp4", "good_link.mp4"):
        assert crop(str(inside / name), 1, 2, **root).status == "ok"
    for path in (inside / "link.mp4", inside / ".." / "outside" / "v.mp4", outside / "v.mp4"):
        outcome = crop(str(path), 1, 2, **root)
        assert outcome.status == "failed" and "outside video_root" in outcome.error.message
    assert crop(str(tmp_path / "root2.mp4"), 1, 2, **root).status == "failed"


def test_a_token_budget_shrinks_frames_then_drops_them(video):
    policy = SamplingPolicy(fps=2, max_frames=16, max_pixels=224 * 392, patch=28, min_pixels=28 * 56)
    free = crop(video, 0, 8, policy=policy)
    assert len(free.times_s) == 16 and free.media.size == (224, 392)
    smaller = crop(video, 0, 8, policy=policy, max_tokens=16 * 30)
    assert len(smaller.times_s) == 16 and frame_tokens(smaller.media.size, 28) <= 30
    fewer = crop(video, 0, 8, policy=policy, max_tokens=20)
    assert len(fewer.times_s) * frame_tokens(fewer.media.size, 28) <= 20 and len(fewer.times_s) >= 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 19), st.floats(0.5, 20), st.integers(2, 40))
def test_finer_than_the_overview_adds_information(video, start, length, shown):
    overview = SamplingPolicy(fps=1, max_frames=shown, max_pixels=56 * 84)
    outcome = crop(video, start, start + length, finer_than=overview)
    seen = plan_overview(probe(video), overview)
    first, last = outcome.span_s
    inside = [time_s for time_s in seen.times_s if first <= time_s <= last]
    area = outcome.media.size[0] * outcome.media.size[1]
    assert len(outcome.times_s) > len(inside) or len(outcome.times_s) == SMALL.max_frames
    if len(inside) < SMALL.max_frames:
        assert set(outcome.times_s) - set(inside) or area > seen.size[0] * seen.size[1]
    budget = SMALL.max_frames * (SMALL.max_pixels // 28**2 + 2)
    assert len(outcome.times_s) * frame_tokens(outcome.media.size, 28) <= budget


def test_finer_is_twice_the_overviews_rate(video):
    sparse = SamplingPolicy(fps=0.1, max_frames=64, max_pixels=56 * 84)
    assert len(crop(video, 5, 10, policy=sparse).times_s) == 2
    overview = SamplingPolicy(fps=1, max_frames=20, max_pixels=56 * 84)
    assert len(crop(video, 5, 10, policy=sparse, finer_than=overview).times_s) == 10


@pytest.mark.parametrize(
    "bad", [{"beyond": "wrap"}, {"deadline_s": 0}, {"deadline_s": float("nan")}, {"max_tokens": 3}]
)
def test_options_that_cannot_work_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        CropOptions(**bad)


def test_importing_the_tool_loads_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, longvt_plugins.tools.crop_video, longvt_plugins.tools.executor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "verl", "cv2", "decord", "torchcodec", "transformers", "mcp", "openai", "pandas"} & set(loaded)


def test_the_same_crop_again_is_recalled_without_a_look_at_the_video(video, store, monkeypatch):
    first = crop(video, 4, 6)
    assert not first.cached and first.decode_s > 0
    monkeypatch.setattr("longvt_plugins.tools.crop_video.probe", None)
    again = crop(video, 4, 6)
    assert again.cached and again.decode_s == 0
    assert again.model_copy(update={"seconds": 0, "decode_s": 0, "cached": False}) == first.model_copy(
        update={"seconds": 0, "decode_s": 0, "cached": False}
    )


def test_a_video_that_changed_is_looked_at_again(tmp_path, store):
    path = str(write_video(tmp_path / "v.mp4", 60))
    assert crop(path, 0, 1).status == "ok"
    write_video(tmp_path / "v.mp4", 30)
    outcome = crop(path, 0, 5)
    assert outcome.span_s == (0.0, 1.0)


@given(st.integers(0, 400), st.integers(0, 8), st.sampled_from(["display", "index"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_crop_never_takes_more_than_its_room(video, tokens, frames, rule):
    room = Room(tokens=tokens, frames=frames, label_tokens=9)
    policy = replace(SMALL, rule=rule, min_pixels=28 * 28)
    outcome = crop(video, 4, 6, policy=policy, room=room)
    each = frame_tokens(outcome.media.size, 28) + 9 if outcome.media else 0
    if outcome.status == "ok":
        assert len(outcome.times_s) <= frames and len(outcome.times_s) * each <= tokens
        ample = crop(video, 4, 6, policy=policy).media
        assert outcome.reduced == ((len(outcome.times_s), outcome.media.size) != (len(ample.times_s), ample.size))
    else:
        assert outcome.error.kind == "NoRoomError" and outcome.status == "refused"
        assert tokens < 2 * (1 + 2 + 9) or frames < 2


def test_room_takes_frames_before_it_takes_pixels(video):
    policy = replace(SMALL, min_pixels=28 * 28)
    full = crop(video, 4, 6, policy=policy)
    each = frame_tokens(full.media.size, 28)
    fewer = crop(video, 4, 6, policy=policy, room=Room(tokens=3 * each, frames=99))
    assert len(fewer.times_s) == 3 and fewer.media.size == full.media.size
    smaller = crop(video, 4, 6, policy=policy, room=Room(tokens=2 * each - 1, frames=99))
    assert len(smaller.times_s) == 2 and smaller.media.size < full.media.size


def test_room_is_shared_by_the_calls_of_a_turn():
    assert Room.share(2, 100, float("inf")) == Room(50, (1 << 30) // 2)
    assert Room.share(0, -5, 3) == Room(0, 3)
