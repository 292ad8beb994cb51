"""What SFT is for: the merged checkpoint is the one that was trained, in transformers and vLLM, and calls the tool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from longvt_plugins.testing.scripted_llm import roll_out
from longvt_plugins.types import Transcript

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[3]
STEPS = 240


@pytest.fixture(scope="module")
def taught(tmp_path_factory, demo_data):
    """The demo's SFT recipe, run and merged as its header says."""
    folder = demo_data
    run = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"),
        *("-m", "lmms_engine.launch.cli", "--config-name", "longvt_demo_sft"),
        f"dataset_config.datasets=[{{path:{folder}/data/chains.parquet,data_folder:{folder}/data}}]",
        f"dataset_config.processor_config.processor_name={folder}/sft_start",
        f"dataset_config.extra_kwargs.longvt.bad_rows={folder}/sft/bad_rows",
        f"model_config.load_from_pretrained_path={folder}/sft_start",
        f"trainer_args.output_dir={folder}/sft",
        f"hydra.run.dir={folder}/hydra",
        f"trainer_args.max_steps={STEPS}",
        f"trainer_args.save_steps={STEPS}",
    ]
    merge = [sys.executable, "-m", "lmms_engine.merger", "--checkpoint_path", f"{folder}/sft/checkpoint-{STEPS}"]
    for command in (run, [*merge, "--output_path", f"{folder}/merged"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory):
    from data_prep.demo_chains import prepare as prepare_chains
    from data_prep.demo_footage import prepare as prepare_footage

    folder = tmp_path_factory.mktemp("taught")
    prepare_footage(folder / "data", videos=4)
    prepare_chains(folder, each=4)
    return folder


@pytest.fixture(scope="module")
def model(taught):
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(taught / "merged", dtype=torch.float32).eval()


def test_the_merged_checkpoint_is_what_was_trained(taught, model):
    """The loss of the training rows, with template, processor and positions that lie beside the merged weights."""
    from lmms_engine.datasets import DatasetConfig
    from lmms_engine.mapping_func import DATASET_MAPPING

    from longvt_plugins.datasets.lmms.register import register

    register()
    built = DATASET_MAPPING["longvt"](
        DatasetConfig(
            dataset_type="longvt",
            dataset_format="yaml",
            datasets=[{"path": f"{taught}/data/chains.parquet", "data_folder": f"{taught}/data"}],
            processor_config={"processor_name": f"{taught}/merged", "processor_type": "longvt_qwen2_5_vl"},
            extra_kwargs={"longvt": {"overview": {"fps": 0.25, "max_frames": 6, "max_pixels": 4704}}},
        )
    )
    built.build()
    with torch.no_grad():
        loss = model(**built.get_collator()([built.sample(row) for row in range(8)])).loss.item()
    assert loss < 0.5


def test_transformers_and_vllm_give_the_same_log_probs(taught):
    command = [sys.executable, "-m", "longvt_plugins.cli.main", "verify", str(taught / "merged"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    report = json.loads(done.stdout[done.stdout.index('{\n  "ok"') :])
    (figures,) = [f["figures"] for f in report["findings"] if f["check"] == "log-probs"]
    assert figures["max_difference"] < 1e-3, report


def test_nine_in_ten_sampled_first_turns_are_calls_that_can_be_read(taught, model):
    """64 trajectories of the RL loop, their first turns sampled from the merged checkpoint as the RL recipe samples."""
    from transformers import AutoProcessor
    from verl.workers.rollout.llm_server import LLMServerClient
    from verl.workers.rollout.replica import TokenOutput

    from longvt_plugins.datasets import LongVTDataset
    from longvt_plugins.testing.recipe import compose_recipe

    overrides = [f"longvt.run={taught}", f"actor_rollout_ref.model.path={taught}/merged"]
    config = compose_recipe("longvt_demo", overrides)
    processor = AutoProcessor.from_pretrained(taught / "merged")
    dataset = LongVTDataset(str(config.data.val_files), processor.tokenizer, config.data, processor)

    class Sampled(LLMServerClient):
        turns: dict[str, int] = {}  # noqa: RUF012

        async def generate(self, request_id, *, prompt_ids, sampling_params, image_data=None, **kwargs) -> TokenOutput:
            first = request_id not in self.turns
            self.turns[request_id] = 1
            text = "<think>x</think><answer>red</answer><|im_end|>"
            ids = self._sample(prompt_ids, image_data) if first else processor.tokenizer.encode(text)
            steps = {"global_steps": 0, "min_global_steps": 0, "max_global_steps": 0}
            return TokenOutput(token_ids=ids, log_probs=[0.0] * len(ids), stop_reason="completed", extra_fields=steps)

        @torch.no_grad()
        def _sample(self, prompt_ids, images) -> list[int]:
            ids = torch.tensor([prompt_ids])
            media = processor.image_processor(images=images, return_tensors="pt")
            kinds = (ids == processor.image_token_id).int()
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=kinds,
                **media,
                do_sample=True,
                temperature=config.actor_rollout_ref.rollout.temperature,
                top_k=0,
                max_new_tokens=100,
            )
            return out[0, len(prompt_ids) :].tolist()

    torch.manual_seed(0)
    rows = [dataset[i % len(dataset)] for i in range(64)]
    output = roll_out(config, Sampled(config), rows)
    transcripts = [Transcript.model_validate(t) for t in output.non_tensor_batch["longvt"]]
    first = [[call for call in transcript.calls if call.turn == 0] for transcript in transcripts]
    readable = [bool(calls) and all(call.call.problem is None for call in calls) for calls in first]
    told = [transcript.turns[0].text for transcript, good in zip(transcripts, readable, strict=True) if not good]
    assert len(readable) == 64 and sum(readable) >= 58, told
