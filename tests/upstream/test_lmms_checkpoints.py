"""A checkpoint of lmms-engine has its name only when all of it is there."""

import os
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from longvt_plugins.upstream import lmms_checkpoints


class Trainer:
    """Saves as upstream does: two files under the name it is given."""

    def __init__(self, folder, fails=False):
        self.args = SimpleNamespace(output_dir=str(folder), save_total_limit=1)
        self.fails = fails

    def save_checkpoints(self, output_path, step, total_limit=None):
        os.makedirs(output_path, exist_ok=True)
        for name in ("model", "optimizer"):
            if self.fails and name == "optimizer":
                raise OSError(28, "No space left on device")
            with open(os.path.join(output_path, name), "w") as file:
                file.write(str(step))
        self.remove_old_checkpoints(self.args.output_dir, total_limit)

    def remove_old_checkpoints(self, folder, total_limit):
        import lmms_engine.train.fsdp2.fsdp2_trainer as upstream

        upstream.FSDP2SFTTrainer.remove_old_checkpoints(self, folder, total_limit)


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "barrier", lambda: None)
    patched = type("FSDP2SFTTrainer", (Trainer,), {"save_checkpoints": Trainer.save_checkpoints})
    lmms_checkpoints.apply(SimpleNamespace(FSDP2SFTTrainer=patched))
    return lambda **how: patched(tmp_path, **how)


def save(trainer, folder, step):
    trainer.save_checkpoints(str(folder / f"checkpoint-{step}"), step, total_limit=1)


def test_stock_leaves_half_a_checkpoint_under_its_name(tmp_path):
    with pytest.raises(OSError):
        save(Trainer(tmp_path, fails=True), tmp_path, 5)
    assert os.listdir(tmp_path) == ["checkpoint-5"]


def test_half_a_checkpoint_has_no_name_and_the_last_whole_one_stays(trainer, tmp_path):
    save(trainer(), tmp_path, 5)
    with pytest.raises(OSError):
        save(trainer(fails=True), tmp_path, 10)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-5", "saving-checkpoint-10"]
    save(trainer(), tmp_path, 10)
    assert os.listdir(tmp_path) == ["checkpoint-10"]
    assert sorted(os.listdir(tmp_path / "checkpoint-10")) == ["model", "optimizer"]


def test_what_is_saved_is_not_saved_again(trainer, tmp_path):
    save(trainer(), tmp_path, 5)
    save(trainer(fails=True), tmp_path, 5)
    assert sorted(os.listdir(tmp_path / "checkpoint-5")) == ["model", "optimizer"]
