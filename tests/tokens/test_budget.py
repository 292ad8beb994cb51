"""What is planned is what the model's processor makes: bounds that it would change are refused, by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2VLImageProcessor

from longvt_plugins.errors import ConfigError
from longvt_plugins.tokens.budget import check_suited, suited, visual_tokens
from longvt_plugins.video import SamplingPolicy
from longvt_plugins.video.sampling import fit_size

QWEN2_5_VL = Qwen2VLImageProcessor(
    patch_size=14, merge_size=2, size={"shortest_edge": 3136, "longest_edge": 12_845_056}
)
QWEN3_VL = Qwen2VLImageProcessor(
    patch_size=16, merge_size=2, size={"shortest_edge": 65_536, "longest_edge": 16_777_216}
)


def qwen3_vl(**fields) -> SamplingPolicy:
    return SamplingPolicy(**{"patch": 32, "min_pixels": 65_536, "max_pixels": 98_304, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patch": 28}, "patch=28: the model's is 32"),
        ({"min_pixels": 3136}, "min_pixels=3136: the model's is 65536 at least"),
        ({"max_pixels": 65_536}, "max_pixels=65536: the model's lies between 98304 .1.5 times min_pixels"),
        ({"max_pixels": 98_303}, "max_pixels=98303: .* between 98304"),
        ({"min_pixels": 66_000}, "max_pixels=98304: .* between 100352"),
        ({"max_pixels": 16_777_217}, "max_pixels=16777217: .* and 16777216"),
    ],
)
def test_bounds_that_the_processor_would_change_are_refused(fields, said):
    check_suited(qwen3_vl(), QWEN3_VL, "tool")
    with pytest.raises(ConfigError, match=f"tool: {said}"):
        check_suited(qwen3_vl(**fields), QWEN3_VL, "tool")


@pytest.mark.parametrize("processor", [QWEN2_5_VL, QWEN3_VL])
@pytest.mark.parametrize(
    "policy", [SamplingPolicy(), SamplingPolicy(max_pixels=3136), SamplingPolicy(min_pixels=50_176)]
)
def test_a_suited_policy_is_accepted(policy, processor):
    check_suited(suited(policy, processor), processor, "overview")


def test_suiting_leaves_what_suits():
    assert suited(SamplingPolicy(), QWEN2_5_VL) == SamplingPolicy()
    assert suited(SamplingPolicy(), QWEN3_VL) == qwen3_vl()


@settings(deadline=None, max_examples=40)
@given(st.integers(90, 1100), st.integers(90, 2000))
def test_the_processor_makes_as_many_tokens_as_are_planned(height, width):
    size = fit_size((height, width), 98_304, 32, 65_536)
    (grid,) = QWEN3_VL(images=[np.zeros((*size, 3), np.uint8)], return_tensors="np")["image_grid_thw"]
    assert int(grid.prod()) // 4 == visual_tokens(size, 32)
