"""Checkpoints of lmms-engine that are whole or not there. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools
import os
import shutil


def apply(fsdp2_trainer) -> None:
    """Wrap ``lmms_engine.train.fsdp2.fsdp2_trainer.FSDP2SFTTrainer.save_checkpoints``."""
    import torch.distributed as dist

    original = fsdp2_trainer.FSDP2SFTTrainer.save_checkpoints

    @functools.wraps(original)
    def save_then_name(self, output_path, step, total_limit=None):
        # The last step is saved twice, as one of save_steps and as the last.
        if os.path.isdir(output_path):
            return
        # Not "checkpoint...": resuming and removing look for that.
        scratch = os.path.join(os.path.dirname(output_path), f"saving-{os.path.basename(output_path)}")
        if dist.get_rank() == 0:
            shutil.rmtree(scratch, ignore_errors=True)
        dist.barrier()
        original(self, scratch, step, total_limit)
        if dist.get_rank() == 0:
            os.replace(scratch, output_path)
            self.remove_old_checkpoints(self.args.output_dir, total_limit=total_limit)
        dist.barrier()

    fsdp2_trainer.FSDP2SFTTrainer.save_checkpoints = save_then_name
