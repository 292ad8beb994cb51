"""Real SFT on the CPU: unmodified ``torchrun -m lmms_engine.launch.cli`` with fsdp2_trainer, killed and resumed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from longvt_plugins.datasets.schema import write_chains
from longvt_plugins.tokens.profiles import check_stamp

ROOT = Path(__file__).parents[3]
LAUNCHER = "lmms_engine.launch.cli"


@dataclass(frozen=True)
class Run:
    folder: Path
    code: int
    output: str

    def losses(self) -> list[float]:
        return [float(value) for value in re.findall(r"'train/loss': ([0-9.]+)", self.output)]


def sft(media, folder: Path, *overrides: str, processes: int = 1, module: tuple[str, ...] = (LAUNCHER,)) -> Run:
    """Run the demo's SFT recipe on the mixed chains."""
    model = media.checkpoint("qwen2_5_vl")
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"),
        *("-m", *module, "--config-name", "longvt_demo_sft"),
        f"dataset_config.datasets=[{{path:{media.folder}/mixed.parquet,data_folder:{media.folder}}}]",
        f"dataset_config.processor_config.processor_name={model}",
        f"dataset_config.extra_kwargs.longvt.bad_rows={folder}/bad_rows",
        f"model_config.load_from_pretrained_path={model}",
        f"trainer_args.output_dir={folder}",
        f"hydra.run.dir={folder}/hydra",
        *overrides,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)
    return Run(folder, done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def mixed(media):
    """32 rows: conversations with tools, videos, pictures, and text alone."""
    chains = [media.chains[i % len(media.chains)].model_copy(update={"id": f"m{i}"}) for i in range(32)]
    for i, chain in enumerate(chains):
        # Questions differ, so that each row can be told from every other.
        messages = [*chain.messages]
        asked = next(n for n, message in enumerate(messages) if message["role"] == "user")
        content = [*messages[asked]["content"], {"type": "text", "text": f" ({i})"}]
        messages[asked] = {**messages[asked], "content": content}
        chains[i] = chain.model_copy(update={"messages": messages})
    write_chains(chains, media.folder / "mixed.parquet")
    return media


@pytest.fixture(scope="module")
def short_run(mixed, tmp_path_factory) -> Run:
    return sft(mixed, tmp_path_factory.mktemp("short"), "trainer_args.max_steps=16", "trainer_args.save_steps=8")


def test_the_unchanged_command_trains(short_run):
    assert short_run.code == 0, short_run.output[-3000:]
    losses = short_run.losses()
    assert len(losses) == 16 and losses[-1] < 0.6 * losses[0]
    assert not (short_run.folder / "bad_rows").exists()


def test_checkpoints_carry_what_they_were_taught_with(short_run):
    for step in (8, 16):
        checkpoint = short_run.folder / f"checkpoint-{step}"
        check_stamp(checkpoint, "frames-time")
        template = (ROOT / "longvt_plugins" / "tokens" / "templates" / "qwen2_5_vl.jinja").read_text()
        assert (checkpoint / "chat_template.jinja").read_text() == template


def test_settings_that_go_silently_wrong_stop_it(mixed, tmp_path):
    run = sft(mixed, tmp_path, "trainer_args.use_rmpad=true")
    assert run.code != 0 and "use_rmpad without use_liger_kernel" in run.output and run.losses() == []


@pytest.mark.full
@pytest.mark.parametrize("processes", [1, 2])
def test_the_loss_falls_fivefold_in_sixty_steps(mixed, tmp_path, processes):
    """Two ranks get text, picture and video batches at different times: none may wait for the other."""
    run = sft(mixed, tmp_path, processes=processes)
    assert run.code == 0, run.output[-3000:]
    losses = run.losses()
    assert len(losses) == 60 and sum(losses[-5:]) / 5 < losses[0] / 5


@pytest.mark.full
@pytest.mark.parametrize("packing", [False, True])
def test_a_killed_run_resumes_with_the_samples_it_would_have_had(mixed, tmp_path, packing):
    def recorded(name: str, kill_at: int) -> Run:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        module = ("longvt_plugins.testing.recorded_sft", str(folder / "diary"), str(kill_at))
        packs = ["dataset_config.packing=true", "dataset_config.packing_length=900"] if packing else []
        steps = ["trainer_args.max_steps=16", "trainer_args.save_steps=4", "trainer_args.dataloader_num_workers=2"]
        batch = ["trainer_args.per_device_train_batch_size=2"]
        return sft(mixed, folder, *packs, *steps, *batch, processes=2, module=module)

    def samples(name: str) -> dict[int, list]:
        """Rows of every rank by step; of a step that ran twice, the later."""
        steps: dict[int, list] = {}
        for rank in range(2):
            of_rank = {}
            for line in (tmp_path / name / "diary" / f"rank_{rank}.jsonl").read_text().splitlines():
                record = json.loads(line)
                of_rank[record["step"]] = record["rows"]
            for step, rows in of_rank.items():
                steps.setdefault(step, []).append(rows)
        return steps

    assert recorded("whole", -1).code == 0
    killed = recorded("killed", 10)
    assert killed.code != 0 and (tmp_path / "killed" / "checkpoint-8").is_dir()
    assert recorded("killed", -1).code == 0
    assert samples("killed") == samples("whole")
    assert len(samples("whole")) == 16
