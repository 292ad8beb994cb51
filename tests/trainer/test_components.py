"""Advantages per component, against the definition."""

import numpy as np
import pytest

from longvt_plugins.trainer.components import component_advantages

GROUPS = ["a"] * 4 + ["b"] * 4


def rewards(**columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def normal(values):
    return (values - values.mean()) / (values.std(ddof=1) + 1e-6)


def test_each_component_is_compared_on_its_own_scale():
    acc, kept = np.array([0, 0, 1, 1, 0, 1, 1, 1.0]), np.array([0, 1, 0, 1, 1, 1, 1, 0.0])
    got = component_advantages(GROUPS, rewards(acc=acc, format=kept), {"acc": 1.0, "format": 0.2})
    parts = [np.concatenate([normal(values[:4]), normal(values[4:])]) for values in (acc, kept)]
    assert got == pytest.approx(normal(parts[0] + 0.2 * parts[1]))


def test_mixes_with_equal_totals_stay_apart():
    """GRPO on the sum gives these four 0 each."""
    record = rewards(acc=[1, 0, 1, 0], grounding=[0, 1, 0, 1])
    got = component_advantages(["a"] * 4, record, {"acc": 2.0, "grounding": 1.0})
    assert got[0] == got[2] > 0 > got[1] == got[3]


def test_what_does_not_apply_neither_pays_nor_moves_the_group():
    record = rewards(acc=[1, 1, 0, 0], grounding=[None, 0.2, 0.4, None])
    with_none = component_advantages(["a"] * 4, record, {"acc": 1.0, "grounding": 1.0})
    acc, grounding = normal(np.array([1, 1, 0, 0.0])), np.array([0, *normal(np.array([0.2, 0.4])), 0])
    assert with_none == pytest.approx(normal(acc + grounding))


@pytest.mark.parametrize("values", [[1, 1, 1, 1], [None, None, None, 1], [None] * 4])
def test_a_component_that_compares_nothing_is_0_and_finite(values):
    got = component_advantages(["a"] * 4, rewards(acc=values), {"acc": 1.0})
    assert np.array_equal(got, np.zeros(4))
    assert component_advantages([], [], {"acc": 1.0}).shape == (0,)
