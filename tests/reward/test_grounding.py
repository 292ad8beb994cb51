"""Temporal grounding against a brute-force integrator, and what must not pay."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longvt_plugins.reward import grounding_score, temporal_iou, temporal_recall
from longvt_plugins.reward.grounding import windows_of

CELL = 1 / 16
LINE = np.arange(-4, 24, CELL) + CELL / 2
WINDOWS = st.lists(
    st.tuples(st.integers(0, 320), st.integers(0, 320)).map(lambda w: (w[0] / 16, w[1] / 16)), max_size=4
)


def inside(spans, widen=0.0):
    """Which cells of the time line ``spans`` cover; exact when every bound is a multiple of the cell."""
    covered = np.zeros(len(LINE), bool)
    for start_s, end_s in spans:
        if start_s < end_s:
            covered |= (start_s - widen <= LINE) & (end_s + widen > LINE)
    return covered


def brute_iou(spans, truths, tolerance_s=0.0):
    predicted, true = inside(spans), inside(truths)
    if not predicted.any() or not true.any():
        return 0.0
    free = inside(truths, tolerance_s) & ~true
    return (predicted & true).sum() / ((predicted & ~free) | true).sum()


@settings(max_examples=300, deadline=None)
@given(WINDOWS, WINDOWS, st.integers(0, 48).map(lambda n: n / 16))
def test_it_equals_brute_force_on_any_sets(spans, truths, tolerance_s):
    assert temporal_iou(spans, truths) == pytest.approx(brute_iou(spans, truths), abs=1e-6)
    assert temporal_iou(spans, truths, tolerance_s) == pytest.approx(brute_iou(spans, truths, tolerance_s), abs=1e-6)
    if inside(truths).any():
        recall = (inside(spans) & inside(truths)).sum() / inside(truths).sum()
        assert temporal_recall(spans, truths) == pytest.approx(recall, abs=1e-6)


@given(WINDOWS, WINDOWS)
def test_order_and_repetition_change_nothing(spans, truths):
    rng = random.Random(0)
    shuffled = rng.sample([*spans, *spans], 2 * len(spans))
    assert temporal_iou(shuffled, truths) == pytest.approx(temporal_iou(spans, truths), abs=1e-9)
    assert temporal_iou(truths, spans) == pytest.approx(temporal_iou(spans, truths), abs=1e-9)


@given(st.lists(st.tuples(st.floats(), st.floats())), st.lists(st.tuples(st.floats(), st.floats())))
def test_whatever_it_is_given_it_stays_between_0_and_1(spans, truths):
    for score in (temporal_iou(spans, truths), temporal_iou(spans, truths, 1.0), temporal_recall(spans, truths)):
        assert 0 <= score <= 1


def test_spraying_crops_pays_less_than_one_good_crop():
    truth = [(10, 12)]
    assert temporal_iou([(10, 12)], truth) == 1.0
    assert temporal_iou([(10, 12), (0, 4), (14, 20)], truth) < 0.2
    assert temporal_iou([(10, 12), (10, 12), (11, 12)], truth) == 1.0
    sprayed = [(0, 4), (10, 12), (14, 20)]
    assert grounding_score(sprayed, truth, rule="best") == 1.0, "why best is not the default"
    assert grounding_score(sprayed, truth, rule="last") == 0.0
    assert grounding_score(sprayed, truth) < 0.2


def test_several_events_need_several_crops():
    events = [(10, 12), (50, 53)]
    assert grounding_score([(10, 12), (50, 53)], events) == 1.0
    assert grounding_score([(10, 12)], events) == pytest.approx(2 / 5)
    assert grounding_score([(10, 12), (50, 53)], events, rule="last") == pytest.approx(3 / 5)
    assert grounding_score([(0, 100)], events, measure="recall") == 1.0


def test_a_declared_tolerance_lets_a_crop_be_longer_than_a_short_event():
    assert temporal_iou([(9, 11)], [(10, 10.2)]) == pytest.approx(0.1)
    assert temporal_iou([(9, 11)], [(10, 10.2)], tolerance_s=1.0) == pytest.approx(1.0)
    assert temporal_iou([(5, 15)], [(10, 10.2)], tolerance_s=1.0) < 0.05
    assert temporal_iou([(8, 9.5)], [(10, 10.2)], tolerance_s=1.0) == 0.0


def test_nothing_is_zero():
    assert temporal_iou([], [(0, 1)]) == temporal_iou([(0, 1)], []) == temporal_iou([(2, 1)], [(0, 1)]) == 0.0


@pytest.mark.parametrize(
    ("written", "windows", "broken"),
    [
        (None, [], 0), ([], [], 0), (np.array([]), [], 0), ("", [], 1), ("soon", [], 1),
        ([1, 2], [(1.0, 2.0)], 0), ([[1, 2]], [(1.0, 2.0)], 0), ((1, 2), [(1.0, 2.0)], 0), ("[1, 2]", [(1.0, 2.0)], 0),
        (np.array([1.0, 2.0]), [(1.0, 2.0)], 0), (np.array([[1, 2], [5, 6]]), [(1.0, 2.0), (5.0, 6.0)], 0),
        (np.array([np.array([1, 2]), np.array([5, 6])], dtype=object), [(1.0, 2.0), (5.0, 6.0)], 0),
        ([[2, 1]], [], 1), ([[1, 1]], [], 1), ([[math.nan, 2]], [], 1), ([[1, math.inf]], [], 1),
        ([[1, 2], [math.nan, 3]], [(1.0, 2.0)], 1), ([[1]], [], 1), ([["a", "b"]], [], 1), ([[None, 2]], [], 1),
        ([1, 2, 3], [], 1), (7, [], 0), ('[["1", "2"]]', [(1.0, 2.0)], 0),
        ('["12", "34"]', [(12.0, 34.0)], 0), ([[1, 2], "34"], [(1.0, 2.0)], 1), ({"start": 1}, [], 1),
        ('"12"', [], 1), ("[" * 998, [], 1), ([1, 10**400], [], 1),
    ],
)  # fmt: skip
def test_ground_truth_as_datasets_write_it(written, windows, broken):
    assert windows_of(written) == (windows, broken)
