"""A rollout, written down as a chain, is taught with the rollout's own tokens, mask and positions."""

from __future__ import annotations

import numpy as np
import pytest

from longvt_plugins.datasets.lmms.options import read_tool_schemas
from longvt_plugins.datasets.media import crop_items
from longvt_plugins.datasets.schema import Chain, write_chains
from longvt_plugins.testing.scripted_llm import ScriptedClient, roll_out
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.types import Transcript

CALLS = [(3, 5), (9, 10)]
ANSWER = "\n<think>I see it.</think><answer>red</answer>"


def call(start_s: int, end_s: int) -> str:
    arguments = f'{{"start_time": {start_s}, "end_time": {end_s}}}'
    return f'<think>Look.</think>\n<tool_call>\n{{"name": "crop_video", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture(scope="module")
def rolled(demo, dataset, tokenizer):
    config = demo.compose("data.max_response_length=800")
    script = lambda turn, _: call(*CALLS[turn]) if turn < len(CALLS) else ANSWER  # noqa: E731
    output = roll_out(config, ScriptedClient(config, tokenizer, script), [dataset[0]])
    return config, output


def chain_of(row: dict, transcript: Transcript, tools: list[dict]) -> Chain:
    text = lambda value: {"type": "text", "text": value}  # noqa: E731
    video = row["tools_kwargs"]["crop_video"]["create_kwargs"]["videos"][0]
    system, user = (message["content"] for message in row["prompt_text"])
    messages = [
        {"role": "system", "content": [text(system)]},
        {
            "role": "user",
            "content": [{"type": "video_url", "video_url": {"url": video}}, text(user.removeprefix("<video>"))],
        },
    ]
    outcomes = iter(transcript.calls)
    for turn in transcript.turns:
        if turn.role == "assistant":
            messages.append({"role": "assistant", "content": [text(turn.text)]})
            continue
        messages.append({"role": "tool", "content": crop_items(next(outcomes).outcome, profile_named(None))})
    return Chain(id="rolled", messages=messages, tools=tools)


def test_tokens_mask_and_positions_are_the_loops(media, demo, dataset, rolled, tmp_path):
    import pyarrow.parquet as pq

    config, output = rolled
    transcript = Transcript.model_validate(output.non_tensor_batch["longvt"][0])
    prompt = pq.read_table(demo.folder / "data" / "val.parquet").to_pylist()[0]["prompt"]
    tools = read_tool_schemas(config.actor_rollout_ref.rollout.multi_turn.tool_config_path)
    chain = chain_of({**dataset[0], "prompt_text": prompt}, transcript, tools)
    write_chains([chain], tmp_path / "rolled.parquet")
    built = media.build(
        "qwen2_5_vl",
        dataset={
            "datasets": [{"path": str(tmp_path / "rolled.parquet")}],
            "processor_config": {
                "processor_name": str(demo.folder / "model"),
                "processor_type": "longvt_qwen2_5_vl",
            },
        },
        overview=dict(config.data.longvt.overview),
    )
    sample = built.sample(0)
    seen = output.batch["attention_mask"][0].bool()
    ids = output.batch["input_ids"][0][seen]
    np.testing.assert_array_equal(sample["input_ids"], ids)
    own = np.concatenate([np.zeros(output.batch["prompts"].shape[1], bool), output.batch["response_mask"][0].bool()])
    np.testing.assert_array_equal(sample["labels"] != -100, own[seen.numpy()])
    positions = output.batch["position_ids"][0][-3:, seen]
    np.testing.assert_array_equal(sample["position_ids"], positions)
