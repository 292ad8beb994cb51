"""What ``trainer.longvt`` may say."""

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.trainer.options import NUMBERS, read_options


def test_components_are_the_numbers_of_a_reward():
    assert NUMBERS == ("score", "acc", "format", "grounding", "tool_calls", "crops_ok", "tool", "call_cost")
    said = {"folder": "f", "components": {"acc": 1, "grounding": 0.5}}
    assert read_options({"longvt": said}) == ("f", {"acc": 1, "grounding": 0.5})
    assert read_options({}) == (None, {})


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"components": {"reason": 1.0}}, r"components\.reason: is no number of RewardRecord"),
        ({"components": {"abstained": 1.0}}, r"components\.abstained"),
        ({"components": {"acc": 1.0, "nosuch": 1.0}}, r"components\.nosuch"),
        ({"components": {"acc": None}}, r"components\.acc=None: is no weight"),
        ({"components": {"acc": "much"}}, "is no weight"),
        ({"flder": "f"}, "flder.*is not a known key"),
    ],
)
def test_what_would_end_the_first_step_is_refused(said, named):
    with pytest.raises(ConfigError, match=named):
        read_options({"longvt": said})
