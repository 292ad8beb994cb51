"""Who takes part in a group's advantage."""

import pytest

from longvt_plugins.errors import RolloutError
from longvt_plugins.trainer.inclusion import check_survivors, included, least_scored

DEAD = {"longvt": {"fault": {"kind": "EngineDeadError", "message": "gone"}}}
ALIVE = {"longvt": {"fault": None}}


@pytest.mark.parametrize(
    ("scored", "expected"),
    [
        ([True] * 4, [True] * 4),
        ([True, True, False, False], [True, True, False, False]),
        ([True, False, False, False], [False] * 4),
        ([False] * 4, [False] * 4),
    ],
)
def test_a_group_needs_two(scored, expected):
    assert included(["g"] * 4, scored) == expected


@pytest.mark.parametrize(("estimator", "least"), [("grpo", 2), ("rloo", 2), ("reinforce_plus_plus", 1), ("remax", 1)])
def test_a_trajectory_that_is_compared_with_none_needs_none(estimator, least):
    assert least_scored(estimator) == least
    assert included(["a", "b"], [True, False], least_scored("reinforce_plus_plus")) == [True, False]


def test_groups_do_not_help_each_other():
    assert included(["a", "b", "a", "b"], [True, True, True, False]) == [True, False, True, False]


def test_groups_that_all_fault_are_no_step():
    with pytest.raises(
        RolloutError, match="all 4 trajectories of 2 groups: faulted, the first by EngineDeadError: gone"
    ):
        check_survivors(["a", "a", "b", "b"], [DEAD] * 4)


@pytest.mark.parametrize("rows", [[DEAD, DEAD, DEAD, ALIVE], [{}] * 4])
def test_one_survivor_is_enough(rows):
    check_survivors(["a", "a", "b", "b"], rows)


def test_a_lone_group_may_have_a_bad_video():
    check_survivors(["a", "a"], [DEAD] * 2)
