"""What the doctor says of a GPU: judged on readings, and read for real where there is none."""

import pytest

from longvt_plugins.doctor.gpu import Gpu, problem, read

SOUND = {
    "driver": "NVIDIA H100 80GB HBM3, 580.159.04",
    "driver_cuda": (13, 0),
    "torch": "2.11.0+cu130",
    "torch_cuda": "13.0",
    "capability": 90,
    "free_bytes": 79 << 30,
    "total_bytes": 79 << 30,
}


def test_a_sound_gpu_has_no_problem():
    assert problem(Gpu(**SOUND), required=True) is None
    assert problem(Gpu(**SOUND, kept_kernels=90), required=True) is None


def test_none_is_a_problem_only_where_one_is_required():
    none = Gpu(torch="2.11.0+cu130", torch_cuda="13.0")
    assert problem(none, required=False) is None
    assert "VERL_PLATFORM=cpu" in str(problem(none, required=True))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"torch": None, "capability": None, "kernel_fault": "ImportError: libcudart"}, "libcudart"),
        ({"torch": "2.11.0+cpu", "torch_cuda": None, "capability": None}, "build without CUDA"),
        ({"driver_cuda": (12, 4), "capability": None}, "built for CUDA 13.0: the driver runs up to 12.4"),
        ({"capability": None}, "CUDA_VISIBLE_DEVICES"),
        ({"capability": 70}, "compute capability 7.0: is too old"),
        ({"capability": 80, "kept_kernels": 90}, "--sm 80"),
        ({"kernel_fault": "AcceleratorError: no kernel image is available"}, "no kernel image"),
        ({"free_bytes": 3 << 30}, "3.0 of 79.0 GiB are free"),
        ({"free_bytes": 1 << 20, "kernel_fault": "OutOfMemoryError"}, "0.0 of 79.0 GiB are free"),
        ({"free_bytes": 0, "total_bytes": 0, "kernel_fault": "AcceleratorError: out of memory"}, "out of memory"),
    ],
)
def test_each_fault_is_told_with_what_was_found(found, told):
    assert told in str(problem(Gpu(**SOUND | found), required=False))


def test_the_reading_here_is_a_reading():
    gpu = read()
    assert gpu.torch is not None
    assert (gpu.capability is None) == (gpu.total_bytes == 0)
