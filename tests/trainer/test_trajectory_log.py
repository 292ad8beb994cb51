"""Trajectory files: whole or absent, replaced by a rerun, read back as written."""

import pytest

from longvt_plugins.errors import DataError
from longvt_plugins.reward.rescore import read_dump
from longvt_plugins.testing.records import trajectory as record
from longvt_plugins.trainer import trajectory_log


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


def test_another_writers_scratch_file_is_left_alone(tmp_path):
    (tmp_path / "rescored.jsonl.tmp").write_text("of another process")
    trajectory_log.write_file(tmp_path / "rescored.jsonl", [record()])
    assert list(trajectory_log.read_file(tmp_path / "rescored.jsonl")) == [record()]
    assert (tmp_path / "rescored.jsonl.tmp").read_text() == "of another process"


def test_a_damaged_line_is_not_skipped(tmp_path):
    path = trajectory_log.write(tmp_path, "train", 1, [record()])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"step_000001\.jsonl, line 1: is no trajectory"):
        list(trajectory_log.read(tmp_path, "train"))


def test_only_a_line_feed_ends_a_line(tmp_path):
    odd = [record(question=f"a{end}b") for end in ("\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029")]
    path = trajectory_log.write(tmp_path, "train", 1, odd)
    assert list(trajectory_log.read(tmp_path, "train")) == list(read_dump(path)) == odd
