"""lmms-engine's launcher with a diary: which samples each step trained on, and with what loss. For tests.

    torchrun ... -m longvt_plugins.testing.recorded_sft DIARY KILL_AT ARGUMENTS OF lmms_engine.launch.cli

``DIARY/rank_<r>.jsonl`` gets a line per step: a digest of each row of the batch. After step ``KILL_AT`` the process
kills itself (SIGKILL), as a machine that fails would; -1: never.
"""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import signal
import sys
from pathlib import Path


def keep_diary(trainer_class, diary: Path, kill_at: int) -> None:
    original = trainer_class.training_step
    rank = int(os.environ.get("RANK", "0"))
    diary.mkdir(parents=True, exist_ok=True)

    def training_step(self, batch):
        rows = zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True)
        unpadded = [[token for token, kept in zip(ids, mask, strict=True) if kept] for ids, mask in rows]
        metrics = original(self, batch)
        digests = [hashlib.blake2b(json.dumps(ids).encode(), digest_size=8).hexdigest() for ids in unpadded]
        record = {"step": self.global_step, "loss": metrics["train/loss"], "rows": digests}
        with (diary / f"rank_{rank}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        if self.global_step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return metrics

    trainer_class.training_step = training_step


if __name__ == "__main__":
    diary, kill_at = Path(sys.argv[1]), int(sys.argv[2])
    sys.argv[1:3] = []
    from lmms_engine.train.fsdp2.fsdp2_trainer import FSDP2SFTTrainer

    keep_diary(FSDP2SFTTrainer, diary, kill_at)
    runpy.run_module("lmms_engine.launch.cli", run_name="__main__", alter_sys=True)
