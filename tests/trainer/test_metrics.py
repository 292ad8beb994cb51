"""Metrics are means over what they apply to, and finite."""

import math

import pytest

from longvt_plugins.testing.records import trajectory
from longvt_plugins.trainer.metrics import coverage, metrics
from longvt_plugins.types import CallRecord, CropCall, CropOutcome, MediaRef, Transcript, Turn

VIDEO = MediaRef(path="/v.mp4", identity="1-1", times_s=(1.0, 3.0, 20.0), size=(28, 28))


def crop(start_s, end_s, **changes):
    times_s = (start_s, (start_s + end_s) / 2)
    fields = dict(status="ok", reply="", span_s=(start_s, end_s), times_s=times_s, tokens=12)
    media = MediaRef(path="/v.mp4", identity="1-1", times_s=times_s, size=(28, 28))
    return CropOutcome(**(fields | {"media": media, "seconds": 0.5, "decode_s": 0.4} | changes))


def transcript(*outcomes, ended_by="answer", **changes):
    calls = tuple(CallRecord(turn=0, call=CropCall(raw=""), outcome=outcome) for outcome in outcomes)
    turns = (Turn(role="assistant", text="", tokens=3), Turn(role="tool", text="", tokens=30))
    return Transcript(turns=turns, calls=calls, overview=(VIDEO,), ended_by=ended_by, **changes)


def test_calls_are_told_apart_by_what_became_of_them():
    records = [
        trajectory(transcript=transcript(crop(0, 4), crop(2, 6, cached=True, decode_s=0.0))),
        trajectory(transcript=transcript(CropOutcome(status="malformed", reply=""), ended_by="malformed_limit")),
    ]
    found = metrics(records)
    assert found["longvt/calls/all"] == 1.5
    assert (found["longvt/calls/ok"], found["longvt/calls/malformed"], found["longvt/calls/failed"]) == (1, 0.5, 0)
    assert found["longvt/crop/length_s"] == 4 and found["longvt/crop/frames"] == 2
    assert found["longvt/crop/cache_hits"] == 0.5 and found["longvt/crop/decode_s"] == 0.4
    assert found["longvt/crop/coverage"] == pytest.approx(6 / 20)
    assert found["longvt/tool/frames"] == 2 and found["longvt/tool/tokens"] == 30
    assert found["longvt/ended_by/answer"] == found["longvt/ended_by/malformed_limit"] == 0.5
    assert all(map(math.isfinite, found.values()))


def test_rewards_are_means_over_the_scored():
    found = metrics([trajectory(grounding=0.5), trajectory(grounding=0.1, abstained=True)])
    assert found["longvt/reward/acc"] == 1.0 and found["longvt/reward/grounding"] == 0.5
    assert found["longvt/rate/abstained"] == 0.5 and found["longvt/rate/included"] == 0.5
    assert "longvt/crop/length_s" not in found


def test_a_step_without_scores_or_trajectories_has_metrics_too():
    assert metrics([trajectory(abstained=True)])["longvt/rate/included"] == 0.0
    assert metrics([]) == {}


def test_limits_that_were_met_are_counted():
    found = metrics([trajectory(transcript=transcript(crop(0, 1), limits_met=("calls",))), trajectory()])
    assert found["longvt/limits_met/calls"] == 0.5


def test_coverage_counts_overlaps_once_and_never_exceeds_the_video():
    assert coverage(transcript(crop(0, 40))) == 1.0
    assert coverage(transcript(crop(0, 4), crop(0, 4))) == pytest.approx(0.2)
    assert coverage(transcript()) is None
