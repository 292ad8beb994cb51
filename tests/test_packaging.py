"""What gets installed: from a wheel, away from the checkout, next to an environment that has verl."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: an in-tree build would leave build/ behind and could pick up stale files from it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("longvt_plugins", "hydra_plugins", "recipes"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A venv with the wheel, which sees this environment's packages through a .pth file; not the checkout."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    (site / "zz_environment.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return venv


def in_venv(venv: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([venv / "bin" / "python", *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def test_the_wheel_holds_the_package_and_nothing_generic(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"longvt_plugins", "hydra_plugins"}
    for needed in (
        "longvt_plugins/py.typed",
        "longvt_plugins/recipes/rl/longvt_demo.yaml",
        "longvt_plugins/recipes/rl/hardware/cpu.yaml",
        "longvt_plugins/recipes/sft/longvt_demo_sft.yaml",
        "longvt_plugins/recipes/launch/slurm.sbatch",
        "longvt_plugins/recipes/launch/Dockerfile",
        "longvt_plugins/tools/crop_video.yaml",
        "longvt_plugins/tokens/templates/qwen2_5_vl.jinja",
        "longvt_plugins/recipes/judge/vllm_qwen2_5_72b.yaml",
        "longvt_plugins/reward/judge/calibration.jsonl",
        "longvt_plugins/reward/judge/prompts/system.txt",
        "longvt_plugins/tokens/templates/qwen3_vl.jinja",
    ):
        assert needed in names
    assert "hydra_plugins/__init__.py" not in names


def test_recipes_resolve_by_name_from_the_wheel(installed, tmp_path):
    arguments = ["-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo", "--cfg", "job", "--resolve"]
    done = in_venv(installed, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trainer_mode: longvt_sync" in done.stdout
    assert f"{installed}/lib" in done.stdout, "the tool configuration must come from the wheel"


def test_the_wheel_registers_with_verl(installed, tmp_path):
    code = "import verl, longvt_plugins, sys; print(longvt_plugins.__file__, 'longvt_plugins.registry' in sys.modules)"
    out = in_venv(installed, "-c", code, cwd=tmp_path).stdout.split()
    assert out[-2].startswith(str(installed)) and out[-1] == "True"


def test_the_command_is_installed(installed):
    entry = next((installed / "lib").glob("python*/site-packages/longvt_plugins-*.dist-info/entry_points.txt"))
    assert "longvt = longvt_plugins.cli.main:main" in entry.read_text()


def test_hydra_sees_the_editable_install(tmp_path):
    """Away from the checkout; an editable install through a finder would hide hydra_plugins from Hydra."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo", "--cfg", "job"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_wrong_recipe_name_is_one_clear_message(tmp_path):
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_dmeo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Cannot find primary config 'longvt_dmeo'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "longvt_plugins.video",
        "longvt_plugins.tools",
        "longvt_plugins.episode",
        "longvt_plugins.reward",
        "longvt_plugins.types",
    ],
)
def test_engine_free_rooms_import_without_engines(module):
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'verl', 'transformers', 'lmms_engine', 'vllm', 'openai', 'ray'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
