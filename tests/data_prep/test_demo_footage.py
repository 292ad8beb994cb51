"""The demo's data: seeded, disjoint, and unanswerable from the overview."""

import numpy as np
import pyarrow.parquet as pq

from data_prep.demo_footage import COLOURS, EVENT_TIMES_S, FPS, SECONDS, prepare
from longvt_plugins.video import probe, read_frames


def shows(frame, colour):
    return (np.abs(frame.astype(int) - COLOURS[colour]).max(-1) < 60).mean() > 0.1


def test_events_are_where_the_rows_say_and_nowhere_in_the_overview(demo):
    for split in ("train", "val"):
        for row in pq.read_table(demo.folder / "data" / f"{split}.parquet").to_pylist():
            video = demo.folder / "data" / row["videos"][0]
            (start_s, end_s), colour = row["extra_info"]["segments"][0], row["reward_model"]["ground_truth"]
            inside = read_frames(video, [start_s + 0.05, (start_s + end_s) / 2, end_s - 0.15]).pixels
            assert all(shows(frame, colour) for frame in inside)
            overview = read_frames(video, [2, 6, 10, 14, 18, 22]).pixels
            assert not any(shows(frame, colour) for frame in overview)


def test_at_least_two_minutes_by_default_and_the_same_for_the_same_seed(tmp_path):
    assert 8 * SECONDS >= 120
    for name in "ab":
        prepare(tmp_path / name, videos=1, seed=7)
    tables = [pq.read_table(tmp_path / name / "val.parquet").to_pylist() for name in "ab"]
    assert tables[0] == tables[1] and len(tables[0]) == len(EVENT_TIMES_S)
    # The encoder need not give the same bytes twice; the film is the same.
    one, other = (read_frames(tmp_path / name / "street_0.mp4", EVENT_TIMES_S).pixels.astype(int) for name in "ab")
    assert np.abs(one - other).mean() < 1
    assert len(probe(tmp_path / "a" / "street_0.mp4").times_s) == SECONDS * FPS
