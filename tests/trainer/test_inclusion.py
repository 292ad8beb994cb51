"""Who takes part in a group's advantage."""

import pytest

from longvt_plugins.trainer.inclusion import included


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


def test_groups_do_not_help_each_other():
    assert included(["a", "b", "a", "b"], [True, True, True, False]) == [True, False, True, False]
