"""Temporal IoU against a brute-force integrator."""

import random

import pytest

from longvt_plugins.reward import temporal_iou


def brute_force(spans, truths, cell=1 / 16):
    """Count cells of the time line; exact when every bound is a multiple of ``cell``."""
    cells = [(i + 0.5) * cell for i in range(int(20 / cell))]
    inside = [(any(s <= t < e for s, e in spans), any(s <= t < e for s, e in truths)) for t in cells]
    union = sum(a or b for a, b in inside)
    return sum(a and b for a, b in inside) / union if union else 0.0


def test_it_equals_brute_force_on_random_sets():
    rng = random.Random(0)
    for _ in range(500):
        sets = [
            [(rng.randrange(0, 320) / 16, rng.randrange(0, 320) / 16) for _ in range(rng.randrange(4))] for _ in "ab"
        ]
        assert temporal_iou(*sets) == pytest.approx(brute_force(*sets), abs=1e-6)


def test_spraying_crops_pays_less_than_one_good_crop():
    truth = [(10, 12)]
    assert temporal_iou([(10, 12)], truth) == 1.0
    assert temporal_iou([(10, 12), (0, 4), (14, 20)], truth) < 0.2
    assert temporal_iou([(10, 12), (10, 12), (11, 12)], truth) == 1.0


def test_nothing_is_zero():
    assert temporal_iou([], [(0, 1)]) == temporal_iou([(0, 1)], []) == temporal_iou([(2, 1)], [(0, 1)]) == 0.0
