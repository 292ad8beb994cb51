"""``longvt verify`` with vLLM's CUDA graphs: both families, every media profile (make test-gpu)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
from longvt_plugins.testing.tiny_qwen3_vl import make_tiny_qwen3_vl
from longvt_plugins.tokens.profiles import PROFILES

FAMILIES = {"qwen2_5_vl": make_tiny_qwen2_5_vl, "qwen3_vl": make_tiny_qwen3_vl}
CASES = [
    *(("qwen2_5_vl", profile, dtype) for profile in PROFILES for dtype in ("bfloat16", "float32")),
    ("qwen3_vl", "native", "float32"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Random checkpoints, sharp enough that positions and pixels count."""
    folder = tmp_path_factory.mktemp("models")
    for family, make in FAMILIES.items():
        make(folder / family, ["Question 1: which number is shown?"], sharpness=4.0)
    return folder


@pytest.mark.gpu
@pytest.mark.parametrize(("family", "profile", "dtype"), CASES)
def test_the_trainer_sees_what_the_engine_saw(models, family, profile, dtype):
    command = ["-m", "longvt_plugins.cli.main", "verify", str(models / family), "--profile", profile, "--dtype", dtype]
    done = subprocess.run([sys.executable, *command], timeout=600)
    assert done.returncode == 0
