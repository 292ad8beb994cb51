"""The needle task is what it claims to be, shown on decoded pixels: who does not crop rightly can only guess."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from longvt_plugins.datasets.rl_rows import problems_of_rl
from longvt_plugins.errors import ConfigError
from longvt_plugins.tasks.needle import SIZES, SPLITS, make_films, read_code, read_digit
from longvt_plugins.tasks.needle_files import write_needle
from longvt_plugins.video import plan_overview, plan_window, probe, read_frames

SIZE = SIZES["tiny"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("needle")
    assert write_needle(folder, SIZE, seed=3) == {"train": 20, "val": 10, "held_out": 10}
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    return [row for split in SPLITS for row in pq.read_table(folder / f"{split}.parquet").to_pylist()]


def accuracy(folder, rows, look):
    """Of a reader that guesses the first class where it sees nothing. ``look(info, row)``: a plan of frames."""
    right = 0
    for row in rows:
        path = folder / row["videos"][0]
        plan = look(probe(path), row)
        code = row["extra_info"]["question"].split("code ")[1][: SIZE.code_length]
        seen = read_digit(read_frames(path, plan.times_s, plan.size).pixels, SIZE.digits, code)
        right += (seen or SIZE.digits[0]) == row["reward_model"]["ground_truth"]
    return right / len(rows)


def test_without_a_crop_every_answer_is_a_guess(folder, rows):
    assert accuracy(folder, rows, lambda info, row: plan_overview(info, SIZE.overview_policy)) == 0.1


def test_a_crop_of_the_scene_shows_every_digit(folder, rows):
    assert accuracy(folder, rows, lambda info, row: crop(info, *row["extra_info"]["segments"][0])) == 1.0


def test_a_crop_somewhat_off_the_scene_shows_it_too(folder, rows):
    def look(info, row):
        start_s, end_s = row["extra_info"]["segments"][0]
        return crop(info, max(0, start_s - 0.5), min(end_s + 0.5, info.duration_s))

    assert accuracy(folder, rows, look) == 1.0


def test_a_crop_of_everything_is_a_guess_and_one_of_nearly_everything_hardly_better(folder, rows):
    assert accuracy(folder, rows, lambda info, row: crop(info, 0, info.duration_s)) == 0.1
    for cut in (0.7, 1.3):
        near = accuracy(folder, rows, lambda info, row, cut=cut: crop(info, cut, info.duration_s - cut / 2))
        assert near <= 0.35


def test_a_crop_of_another_scene_is_a_guess(folder, rows):
    def look(info, row):
        start_s, end_s = row["extra_info"]["segments"][0]
        away = SIZE.scene_s if start_s == 0 else -SIZE.scene_s
        return crop(info, start_s + away, end_s + away)

    assert accuracy(folder, rows, look) == 0.1


def crop(info, start_s, end_s):
    plan = plan_window(info, start_s, end_s, SIZE.crop_policy)
    assert len(plan.times_s) == SIZE.crop_frames
    return plan


def test_the_overview_is_tiny_and_shows_every_scene_by_its_code(folder):
    for film in make_films(SIZE, seed=3):
        info = probe(folder / film.name)
        assert info.duration_s == pytest.approx(len(film.scenes) * SIZE.scene_s)
        plan = plan_overview(info, SIZE.overview_policy)
        assert plan.size == SIZE.overview and len(plan.times_s) == len(film.scenes)
        frames = read_frames(info.path, plan.times_s, plan.size).pixels
        assert [read_code(frame, SIZE.code_length) for frame in frames] == [scene.code for scene in film.scenes]


def test_digits_show_for_half_a_second_and_not_longer(folder):
    film = make_films(SIZE, seed=3)[0]
    info = probe(folder / film.name)
    frames = read_frames(info.path, info.times_s).pixels
    for scene in film.scenes:
        seen = [
            time
            for time, frame in zip(info.times_s, frames, strict=True)
            if read_digit([frame], "0123456789", scene.code)
        ]
        wanted = np.arange(4) / SIZE.fps + scene.shown_s[0] if scene.digit else []
        np.testing.assert_allclose(seen, wanted)


def test_rows_are_sound_and_classes_are_balanced(folder, rows):
    assert not [problem for row in rows for problem in problems_of_rl(row, str(folder))]
    for split in SPLITS:
        counts = Counter(r["reward_model"]["ground_truth"] for r in rows if r["extra_info"]["split"] == split)
        assert set(counts) == set(SIZE.digits) and len(set(counts.values())) == 1


@pytest.mark.parametrize("name", SIZES)
def test_splits_share_no_code_and_no_film_and_the_held_out_ones_are_longer(name):
    films = make_films(SIZES[name], seed=1)
    codes = {split: {s.code for f in films if f.split == split for s in f.scenes} for split in SPLITS}
    assert not (codes["train"] & codes["val"] or codes["train"] & codes["held_out"] or codes["val"] & codes["held_out"])
    assert len({film.name for film in films}) == len(films)
    assert all(len({scene.code for scene in film.scenes}) == len(film.scenes) for film in films)
    lengths = {split: {len(f.scenes) for f in films if f.split == split} for split in SPLITS}
    assert min(lengths["held_out"]) > max(lengths["train"] | lengths["val"])


def test_a_seed_is_a_task():
    assert make_films(SIZE, seed=5) == make_films(SIZE, seed=5) != make_films(SIZE, seed=6)


@pytest.mark.parametrize(
    "change",
    [
        {"crop_frames": 7},
        {"scenes": 100, "held_out_scenes": 200},
        {"held_out_scenes": 10},
        {"questions": 11},
        {"least_scenes": 11},
        {"least_scenes": 4},
        {"digits": "11"},
        {"fps": 5},
        {"scene_s": 1.0},
    ],
)
def test_a_size_that_would_break_the_task_is_refused(change):
    with pytest.raises(ConfigError, match="Change the size"):
        replace(SIZE, **change)
