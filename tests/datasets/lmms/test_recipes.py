"""Every SFT recipe composes by name over lmms-engine's defaults, sets no key unknown there, and passes our checks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from longvt_plugins.datasets.lmms.options import SFTOptions, refuse_silently_wrong
from longvt_plugins.launch.sft import image_processor

ROOT = Path(__file__).parents[3]
NAMES = sorted(path.stem for path in (ROOT / "recipes" / "sft").glob("*.yaml"))
FREE = {"dataset_config.datasets", "dataset_config.extra_kwargs", "trainer_args.fsdp_config"}


def compose(name: str):
    from hydra import compose, initialize_config_dir

    engine = Path(importlib.util.find_spec("lmms_engine").submodule_search_locations[0])
    with initialize_config_dir(str(engine / "launch" / "config"), version_base=None):
        return OmegaConf.to_container(compose(name))


def unknown(recipe: dict, base: dict, prefix: str = "") -> set[str]:
    found = set()
    for key, value in recipe.items():
        name = f"{prefix}{key}"
        if name in FREE:
            continue
        if key not in base:
            found.add(name)
        elif isinstance(value, dict) and isinstance(base[key], dict):
            found |= unknown(value, base[key], f"{name}.")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_composes_with_no_mistyped_key_and_no_refused_setting(name):
    recipe = compose(name)
    assert unknown(recipe, compose("default_config")) == set()
    data, args = recipe["dataset_config"], recipe["trainer_args"]
    refuse_silently_wrong(
        SimpleNamespace(
            dataset_config=SimpleNamespace(**data),
            trainer_type=recipe["trainer_type"],
            trainer_args=SimpleNamespace(**args),
        )
    )
    kind, checkpoint = (data["processor_config"][key] for key in ("processor_type", "processor_name"))
    options = SFTOptions.of(SimpleNamespace(**data), image_processor(kind, checkpoint))
    assert options.media.profile.name == "frames-time"
    assert options.media.overview.patch == (32 if "qwen3" in kind else 28)


def test_a_mistyped_key_would_be_found():
    recipe = compose("longvt_demo_sft")
    recipe["trainer_args"]["lerning_rate"] = 1
    assert unknown(recipe, compose("default_config")) == {"trainer_args.lerning_rate"}


def test_other_hydra_programs_do_not_load_lmms_engine(tmp_path):
    program = tmp_path / "other.py"
    program.write_text(
        "import hydra, sys\n"
        "@hydra.main(version_base=None, config_path=None)\n"
        "def main(config):\n"
        "    print('lmms_engine' in sys.modules, 'hydra_plugins.longvt' in sys.modules)\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_the_launcher_knows_our_recipes_too():
    """The documented fallback; lmms-engine's own launcher is run for real in ``test_run``."""
    command = [sys.executable, "-m", "longvt_plugins.sft", "--config-name", "longvt_demo_sft", "--cfg", "job"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "dataset_type: longvt" in done.stdout, done.stderr[-2000:]
