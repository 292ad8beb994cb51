"""What verl learns about us at ``import verl``, what it costs, and how loud a broken plugin is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(code: str, *, path: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(path), **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300, cwd="/")


@pytest.fixture
def broken_copy(tmp_path):
    """A copy of the package to break; it shadows the installed one through PYTHONPATH."""
    shutil.copytree(ROOT / "longvt_plugins", tmp_path / "longvt_plugins", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_parts_are_registered_where_verl_looks():
    done = python(
        "import verl\n"
        "from verl.experimental.agent_loop.agent_loop import _agent_loop_registry as loops\n"
        "from verl.trainer.ppo.v1 import get_trainer_cls\n"
        "print(loops['longvt_agent']['_target_'], get_trainer_cls('longvt_sync').__name__)"
    )
    assert done.stdout.split()[-2:] == ["longvt_plugins.loops.verl_loop.LongVTAgentLoop", "LongVTTrainer"], done.stderr


def test_import_verl_loads_nothing_heavy_opens_no_socket_and_no_cuda():
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket.connect = refuse\n"
        "import verl, torch\n"
        "assert 'longvt_plugins.registry' in sys.modules\n"
        "ours = {m for m in sys.modules if m.startswith('longvt_plugins.')}\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert 'verl.experimental.agent_loop' not in sys.modules and 'openai' not in sys.modules\n"
        "print(sorted(m for m in ours if m.split('.')[1] in ('video', 'reward', 'trainer', 'loops')))"
    )
    done = python(code, VERL_PLATFORM="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[]"


@pytest.mark.parametrize(
    "module", ["loops/verl_loop.py", "trainer/longvt_sync.py", "tools/verl_tool.py", "reward/compute.py"]
)
def test_a_renamed_module_is_reported_at_import_verl(broken_copy, module):
    (broken_copy / "longvt_plugins" / module).rename(broken_copy / "longvt_plugins" / module.replace(".py", "_.py"))
    done = python("import verl", path=broken_copy)
    assert "is missing" in done.stderr and module.split("/")[1].removesuffix(".py") in done.stderr
    assert "Traceback" in done.stderr and "Reinstall longvt-plugins" in done.stderr


def test_a_part_that_fails_on_first_use_stops_the_process(broken_copy):
    (broken_copy / "longvt_plugins/loops/verl_loop.py").write_text("raise RuntimeError('planted')\n")
    done = python(
        "import verl; print('imported'); import verl.experimental.agent_loop; print('went on')", path=broken_copy
    )
    assert "imported" in done.stdout and "went on" not in done.stdout
    assert done.returncode != 0
    assert "planted" in done.stderr and "longvt_plugins.loops.verl_loop failed to load" in done.stderr


def test_a_missing_entry_point_is_noticed_by_main_ppo():
    """Without our entry point verl stays silent; the Hydra plugin speaks up."""
    code = (
        "import importlib.metadata as m, runpy, sys\n"
        "real = m.entry_points\n"
        "m.entry_points = lambda **k: () if k.get('group') == 'verl.plugins' else real(**k)\n"
        "sys.argv = ['main_ppo', '--config-name', 'ppo_trainer', '--cfg', 'job']\n"
        "runpy.run_module('verl.trainer.main_ppo', run_name='__main__')"
    )
    done = python(code, VERL_PLATFORM="")
    assert "did not load the entry point 'longvt'" in done.stderr


def test_the_cpu_room_is_off_unless_chosen():
    code = (
        "import verl, os; from verl.plugin.platform import PlatformRegistry as P; print('cpu' in P.registered_names())"
    )
    assert python(code, VERL_PLATFORM="").stdout.split()[-1] == "False"
    assert python(code, VERL_PLATFORM="cpu").stdout.split()[-1] == "True"


def test_resolvers_give_packaged_files(tmp_path):
    code = (
        "import verl\nfrom omegaconf import OmegaConf\n"
        "c = OmegaConf.create({'p': '${longvt.path:tools/crop_video.yaml}', 'h': '${longvt.hardware:}'})\n"
        "print(c.p, c.h)\n"
        "try: OmegaConf.create({'p': '${longvt.path:../../etc/none}'}).p\n"
        "except Exception as e: print('refused', 'Correct' in str(e))"
    )
    lines = python(code).stdout.strip().splitlines()[-2:]
    assert lines[0].endswith("longvt_plugins/tools/crop_video.yaml cpu")
    assert lines[1] == "refused True"
