"""A rollout, written down as a chain, is taught with the rollout's own tokens, mask and positions."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoProcessor

from longvt_plugins.datasets import LongVTDataset
from longvt_plugins.datasets.convert import Funnel
from longvt_plugins.datasets.convert.rollouts import Standards, traces_of
from longvt_plugins.datasets.rl_rows import read_row
from longvt_plugins.datasets.schema import write_chains
from longvt_plugins.datasets.tables import rows_of
from longvt_plugins.testing.records import trajectory
from longvt_plugins.testing.scripted_llm import ScriptedClient, roll_out
from longvt_plugins.tools.tool_file import read_schemas
from longvt_plugins.types import Transcript


def call(start_s: int, end_s: int) -> str:
    arguments = f'{{"start_time": {start_s}, "end_time": {end_s}}}'
    return f'<think>Look.</think>\n<tool_call>\n{{"name": "crop_video", "arguments": {arguments}}}\n</tool_call>'


# White space at the borders of turns, two calls at once, and one that is refused.
TURNS = [call(3, 5), call(9, 10) + "\n" + call(7, 6), "\n<think>I see it.</think><answer>red</answer>"]


@pytest.mark.parametrize("profile", ["frames-time", "longvt-compat"])
def test_tokens_mask_and_positions_are_the_loops(media, demo, tokenizer, tmp_path, profile):
    config = demo.compose("data.max_response_length=1000", f"+data.longvt.profile={profile}")
    whole = AutoProcessor.from_pretrained(demo.folder / "model")
    dataset = LongVTDataset(str(config.data.val_files), tokenizer, config.data, whole)
    output = roll_out(config, ScriptedClient(config, tokenizer, lambda turn, _: TURNS[turn]), [dataset[0]])
    transcript = Transcript.model_validate(output.non_tensor_batch["longvt"][0])
    assert [record.outcome.status for record in transcript.calls] == ["ok", "ok", "refused"]
    record = trajectory(
        transcript=transcript,
        sample_index=dataset[0]["index"],
        question=dataset[0]["extra_info"]["question"],
        ground_truth=dataset[0]["reward_model"]["ground_truth"],
    )
    rows = {str(dataset[0]["index"]): [read_row(next(rows_of(demo.folder / "data" / "val.parquet")), 0)]}
    tools = read_schemas(config.actor_rollout_ref.rollout.multi_turn.tool_config_path)
    write_chains(traces_of([record], rows, Standards(), Funnel(), tools=tools), tmp_path / "rolled.parquet")
    processor = {"processor_name": str(demo.folder / "model"), "processor_type": "longvt_qwen2_5_vl"}
    files = [{"path": str(tmp_path / "rolled.parquet")}]
    given = {"datasets": files, "processor_config": processor}
    sample = media.build("qwen2_5_vl", dataset=given, profile=profile).sample(0)
    seen = output.batch["attention_mask"][0].bool()
    np.testing.assert_array_equal(sample["input_ids"], output.batch["input_ids"][0][seen])
    own = np.concatenate([np.zeros(output.batch["prompts"].shape[1], bool), output.batch["response_mask"][0].bool()])
    np.testing.assert_array_equal(sample["labels"] != -100, own[seen.numpy()])
    np.testing.assert_array_equal(sample["position_ids"], output.batch["position_ids"][0][-3:, seen])
