"""What a recipe may say about the loop."""

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.loops.options import INCLUSION_KEY, LoopOptions, check_trainer


def test_defaults_come_from_the_recipe():
    options = LoopOptions.of({"multi_turn": {"max_assistant_turns": 4}, "custom": {"longvt": {"max_calls": 3}}}, 800)
    assert (options.limits.max_turns, options.limits.max_calls, options.answer_tokens) == (4, 3, 100)
    assert LoopOptions.of({}, 800).limits.max_turns == 8


@pytest.mark.parametrize(
    "wrong",
    [{"max_cals": 3}, {"answer_tokens": 800}, {"answer_tokens": 0}, {"answer_tokens": "20"}, {"max_calls": "3"}],
)
def test_what_cannot_work_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LoopOptions.of({"custom": {"longvt": wrong}}, 800)


def test_trainers_that_would_take_a_fault_for_a_score_are_refused():
    check_trainer({"v1": {"trainer_mode": "longvt_sync"}})
    check_trainer({"v1": {"trainer_mode": "sync"}, INCLUSION_KEY: True})
    for mode in ("sync", "colocate_async", "separate_async"):
        with pytest.raises(ConfigError, match=f"trainer_mode={mode}.*scores of 0"):
            check_trainer({"v1": {"trainer_mode": mode}})
