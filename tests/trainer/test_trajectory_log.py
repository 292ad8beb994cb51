"""Trajectory files: whole or absent, replaced by a rerun, read back as written."""

import pytest

from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import RewardRecord, TrajectoryRecord, Transcript


def record(step=1, session=0, grounding=None, abstained=False):
    acc = None if abstained else 1.0
    reward = RewardRecord(
        score=0.0 if abstained else 1.2,
        acc=acc,
        format=0.0 if abstained else 1.0,
        grounding=grounding,
        tool_calls=1,
        crops_ok=1,
        abstained=abstained,
        faulted=False,
        reason="",
    )
    return TrajectoryRecord(
        run="r",
        step=step,
        split="train",
        group="g",
        session=session,
        data_source="d",
        sample_index=1,
        question="?",
        ground_truth="red",
        transcript=Transcript(ended_by="answer"),
        reward=reward,
        included=not abstained,
        advantage=0.0,
        prompt_ids=(1,),
        response_ids=(2,),
        response_mask=(1,),
        rollout_log_probs=(-0.5,),
        weights_step=(0, 0),
    )


def test_round_trip_in_step_order(tmp_path):
    for step in (10, 2):
        trajectory_log.write(tmp_path, "train", step, [record(step, s) for s in range(3)])
    back = list(trajectory_log.read(tmp_path, "train"))
    assert back == [record(step, s) for step in (2, 10) for s in range(3)]
    assert list(trajectory_log.read(tmp_path, "val")) == []


def test_a_step_that_runs_again_replaces_its_file(tmp_path):
    trajectory_log.write(tmp_path, "train", 1, [record(), record()])
    trajectory_log.write(tmp_path, "train", 1, [record()])
    assert len(list(trajectory_log.read(tmp_path, "train"))) == 1
    assert [p.name for p in (tmp_path / "train").iterdir()] == ["step_000001.jsonl"]


def test_metrics_are_means_over_what_applies_and_finite():
    metrics = trajectory_log.metrics([record(grounding=0.5), record(abstained=True)])
    assert metrics["longvt/reward/acc"] == 1.0
    assert metrics["longvt/reward/grounding"] == 0.5
    assert metrics["longvt/rate/abstained"] == 0.5
    assert "longvt/tool/seconds" not in metrics
    assert trajectory_log.metrics([record(abstained=True)])["longvt/rate/included"] == 0.0
    assert trajectory_log.metrics([]) == {}


def test_a_damaged_line_is_not_skipped(tmp_path):
    path = trajectory_log.write(tmp_path, "train", 1, [record()])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError):
        list(trajectory_log.read(tmp_path, "train"))
