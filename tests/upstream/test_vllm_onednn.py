"""vLLM on the CPU must keep weights that a weight sync can load into; packed, they are gone."""

import os
import subprocess
import sys

CODE = """
import os, torch
from vllm.plugins import load_general_plugins
if {plugins}: load_general_plugins()
from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
layer = torch.nn.Linear(64, 192)
dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
print("weights left:", layer.weight.numel())
"""


def weights_left(platform: str, plugins: bool) -> str:
    env = {**os.environ, "VERL_PLATFORM": platform}
    command = [sys.executable, "-c", CODE.format(plugins=plugins)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_weights_stay_with_the_plugin_and_go_without():
    assert weights_left("cpu", plugins=True) == f"weights left: {64 * 192}"
    assert weights_left("cpu", plugins=False) == "weights left: 0"


def test_it_leaves_vllm_alone_unless_the_cpu_is_chosen():
    assert weights_left("", plugins=True) == "weights left: 0"
