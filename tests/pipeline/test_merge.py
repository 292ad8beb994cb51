"""Which folder is merged, and what is refused; the mergers themselves run in the pipeline's own test."""

import sys
from pathlib import Path

import pytest

from longvt_plugins.errors import ConfigError, StageError
from longvt_plugins.pipeline import stage as stages
from longvt_plugins.pipeline.merge import merge, newest

ROOT = Path(__file__).parents[2]
MERGER = """#!/bin/sh
echo x >> merged; mkdir "$6"; echo {} > "$6/config.json"; echo weights > "$6/model.safetensors"
"""
MERGE = (
    "import sys; from pathlib import Path; from longvt_plugins.pipeline.merge import merge; here = Path.cwd();"
    "sys.executable = str(here / 'merger'); merge(here / 'checkpoint-1', here / 'model')"
)


def test_the_newest_whole_checkpoint_is_taken(tmp_path):
    for name in ("checkpoint-20", "checkpoint-100", "saving-checkpoint-120"):
        (tmp_path / name).mkdir()
    assert newest(tmp_path).name == "checkpoint-100"
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("16\n")
    assert newest(tmp_path).name == "global_step_16"


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no whole checkpoint"):
        merge(tmp_path, tmp_path / "model")
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        merge(tmp_path, tmp_path / "model")


def test_a_merger_that_fails_leaves_no_model(tmp_path):
    (tmp_path / "checkpoint-1" / "pytorch_model_fsdp_0").mkdir(parents=True)
    with pytest.raises(StageError, match="the merger of lmms-engine failed"):
        merge(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a checkpoint and a program that stands where ``python -m lmms_engine.merger`` stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "checkpoint-1" / "pytorch_model_fsdp_0").mkdir(parents=True)
    (tmp_path / "checkpoint-1" / "pytorch_model_fsdp_0" / "shard").write_text("weights")
    (tmp_path / "merger").write_text(MERGER)
    (tmp_path / "merger").chmod(0o755)
    return tmp_path


def test_a_stage_killed_between_the_model_and_its_stamp_goes_on(here, monkeypatch):
    one = stages.Stage("model", here, (sys.executable, "-c", MERGE), (str(here / "checkpoint-1"),), ("model",))
    whole = stages.write_stamp

    def killed(path, stamp):
        if stamp.state == "done":
            raise KeyboardInterrupt
        whole(path, stamp)

    monkeypatch.setattr(stages, "write_stamp", killed)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    assert (here / "model" / "model.safetensors").exists()
    monkeypatch.setattr(stages, "write_stamp", whole)
    assert one.run().state == "done" and (here / "merged").read_text() == "x\nx\n"
    assert not (here / ".model.merging").exists()


def test_a_stage_does_not_lend_its_leave_to_other_folders(here, monkeypatch):
    (here / "mine").mkdir()
    monkeypatch.setenv(stages.OUTPUTS_VARIABLE, f"{here}/model")
    with pytest.raises(ConfigError, match="is there already"):
        merge(here / "checkpoint-1", here / "mine")
