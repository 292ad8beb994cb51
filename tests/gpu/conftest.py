"""Tests that need a GPU: skipped, with the reason, where nvidia-smi finds none."""

import shutil
import subprocess

import pytest


@pytest.fixture(autouse=True)
def gpu_here(monkeypatch):
    if not shutil.which("nvidia-smi") or subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode:
        pytest.skip("nvidia-smi finds no GPU here")
    # tests/conftest.py asks for the CPU; the commands here find the GPU as a user's do.
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
