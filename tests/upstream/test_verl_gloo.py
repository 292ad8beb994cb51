"""A process group on the CPU platform: stock names gloo's device twice and torch refuses it."""

import os
import subprocess
import sys

CODE = """
import os, verl
os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
from verl.utils import distributed
start = distributed.initialize_global_process_group_ray
({}start{})()
import torch
print(torch.distributed.get_backend())
"""


def start(before: str, after: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "VERL_PLATFORM": "cpu"}
    command = [sys.executable, "-c", CODE.format(before, after)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def test_it_starts_with_the_work_around():
    done = start("", "")
    assert done.returncode == 0 and done.stdout.strip().endswith("gloo"), done.stderr


def test_it_does_not_without():
    done = start("", ".__wrapped__")
    assert done.returncode != 0 and "Duplicate device type" in done.stderr
