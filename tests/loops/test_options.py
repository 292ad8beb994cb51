"""What a recipe may say about the loop."""

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.loops.options import LoopOptions


def test_defaults_come_from_the_recipe():
    options = LoopOptions.of({"multi_turn": {"max_assistant_turns": 4}, "custom": {"longvt": {"max_calls": 3}}}, 800)
    assert (options.limits.max_turns, options.limits.max_calls, options.answer_tokens) == (4, 3, 100)
    assert LoopOptions.of({}, 800).limits.max_turns == 8


@pytest.mark.parametrize("wrong", [{"max_cals": 3}, {"answer_tokens": 800}, {"answer_tokens": 0}, {"max_calls": "3"}])
def test_what_cannot_work_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LoopOptions.of({"custom": {"longvt": wrong}}, 800)
