"""The doctor finds this GPU usable: driver, CUDA, kernels of torch and vLLM, memory (make test-gpu)."""

import pytest

from longvt_plugins.doctor import gpu


@pytest.mark.gpu
def test_this_gpu_can_run_the_demo():
    found = gpu.read()
    assert gpu.problem(found, required=True) is None
    assert found.driver and found.driver_cuda and found.capability >= gpu.LEAST_CAPABILITY
    assert found.free_bytes <= found.total_bytes
