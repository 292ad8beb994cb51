"""Which folder is merged, and what is refused; the mergers themselves run in the pipeline's own test."""

import pytest

from longvt_plugins.errors import ConfigError, StageError
from longvt_plugins.pipeline.merge import merge, newest


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
