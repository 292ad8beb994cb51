"""lmms-engine's process groups on a CPU: stock asks for CUDA although ``use_cpu`` made the backend gloo."""

import os
import subprocess
import sys

CODE = """
import os, torch, torch.distributed as dist
os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
from lmms_engine.parallel import process_group_manager as groups
if {apply}:
    from longvt_plugins.upstream import lmms_cpu
    lmms_cpu.apply(groups)
groups.setup_process_group_manager(1, 1, 1, 1)
print(groups.process_group_manager.device_mesh.device_type, torch.cuda.current_device(), torch.cuda.get_device_name())
"""


def start(apply: bool) -> subprocess.CompletedProcess:
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", CODE.format(apply=apply)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def test_it_starts_with_the_work_around():
    done = start(apply=True)
    assert done.returncode == 0 and done.stdout.split()[-3:] == ["cpu", "cpu", "cpu"], done.stderr


def test_it_does_not_without():
    done = start(apply=False)
    assert done.returncode != 0 and "cuda" in done.stderr.lower()
