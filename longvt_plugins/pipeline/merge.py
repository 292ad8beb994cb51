"""A trainer's sharded checkpoint -> a model folder to serve or to start from, by the trainer's own merger.

lmms-engine's merger leaves the media profile's stamp behind; here it goes along. The folder has its name only once it
is whole. One that is there is replaced by the stage whose output it is, and by nobody else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from longvt_plugins.errors import ConfigError, StageError
from longvt_plugins.tokens.profiles import STAMP

from .stage import OUTPUTS_VARIABLE


def merge(checkpoint: Path, target: Path) -> str:
    """Merge ``checkpoint`` into the folder ``target``.

    Args:
        checkpoint: lmms-engine's ``checkpoint-N``, verl's ``global_step_N``, or a trainer's folder: the newest in it.

    Returns:
        Which trainer's it was.

    Raises:
        ConfigError: it is neither, or not whole; or ``target`` is there and no output of the stage that runs this.
        StageError: the merger failed.
    """
    if target.exists() and not _of_this_stage(target):
        raise ConfigError(str(target), "is there already", "Remove it, or choose another folder.")
    checkpoint = newest(checkpoint)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.merging")
    shutil.rmtree(scratch, ignore_errors=True)
    if (checkpoint / "pytorch_model_fsdp_0").is_dir():
        trainer, shards = "lmms-engine", checkpoint
        command = ["lmms_engine.merger", "--checkpoint_path", str(checkpoint), "--output_path", str(scratch)]
    elif (checkpoint / "actor" / "huggingface").is_dir():
        trainer, shards = "verl", checkpoint / "actor"
        command = ["verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", str(shards)]
        command += ["--target_dir", str(scratch)]
    else:
        rule = "is no whole checkpoint of lmms-engine (checkpoint-N) or verl (global_step_N)"
        raise ConfigError(str(checkpoint), rule, "Name the folder of one step.")
    code = subprocess.run([sys.executable, "-m", *command]).returncode
    if code or not (scratch / "config.json").is_file() or not list(scratch.glob("*.safetensors")):
        raise StageError(f"merging {checkpoint}", f"the merger of {trainer} failed (exit code {code})", "See above.")
    for folder in (shards, shards / "huggingface"):
        if (folder / STAMP).is_file():
            shutil.copy2(folder / STAMP, scratch / STAMP)
    if target.exists():
        shutil.rmtree(target)
    os.replace(scratch, target)
    return trainer


def _of_this_stage(path: Path) -> bool:
    return os.path.abspath(path) in os.environ.get(OUTPUTS_VARIABLE, "").split("\n")


def newest(folder: Path) -> Path:
    """The newest whole checkpoint of a trainer's folder; ``folder`` itself if it holds none."""
    last = folder / "latest_checkpointed_iteration.txt"
    if last.is_file():
        return folder / f"global_step_{last.read_text().strip()}"
    steps = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[1].isdigit()]
    return max(steps, key=lambda path: int(path.name.split("-")[1]), default=folder)
