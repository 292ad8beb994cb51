"""Trajectories for the checks: a generated video, verl's own agent-loop worker, ``longvt_agent``, an engine.

The trajectories are the hard ones: crops one after another, crops in parallel, calls that cannot be read between
them, a crop that must be reduced to the room that is left, and no call at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from omegaconf import DictConfig

from longvt_plugins.datasets.schema import Message, RLRow, write_rl_rows
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.registry import packaged_path
from longvt_plugins.testing.videos import write_video
from longvt_plugins.tokens.budget import patch_of
from longvt_plugins.tokens.conversation import messages_of
from longvt_plugins.tokens.positions import PositionSpec, seconds_per_grid
from longvt_plugins.tokens.profiles import MediaProfile
from longvt_plugins.tokens.render import render
from longvt_plugins.tools.tool_file import PACKAGED, Tool, crop_tool
from longvt_plugins.types import Transcript, Turn

from .engine import RecordingClient, open_vllm
from .rollout import worker_outputs
from .sample import Generation, Sample

SECONDS, RATE = 24, 8
PROMPT_TOKENS, RESPONSE_TOKENS = 2048, 1536
ANSWER = "<think>I see it.</think><answer>17</answer>"


def crop(start_s: float, end_s: float) -> str:
    arguments = json.dumps({"start_time": start_s, "end_time": end_s})
    return f'<think>Look.</think>\n<tool_call>\n{{"name": "crop_video", "arguments": {arguments}}}\n</tool_call>'


PLAYS: tuple[tuple[str | None, ...], ...] = (
    (crop(2, 5), crop(8.5, 12), None),
    (crop(1, 4) + "\n" + crop(14, 20), None),
    ("<tool_call>{oops</tool_call>", crop(20, 3), crop(21, 23.5), None),
    (None,),
)
"""What the script writes in each trajectory; ``None``: the engine's turn."""


@dataclass(frozen=True)
class Session:
    """What ``verify`` runs on.

    Attributes:
        model: a checkpoint folder.
        folder: where the video and its question go.
    """

    model: str
    folder: Path
    profile: MediaProfile
    engine: str
    dtype: str

    def samples(self) -> list[Sample]:
        """Roll out and take apart. With the engine ``scripted`` no token has a probability."""
        return asyncio.run(self._samples())

    @cached_property
    def processor(self) -> Any:
        from transformers import AutoProcessor

        processor = AutoProcessor.from_pretrained(self.model)
        processor.chat_template = Path(self._template).read_text()
        return processor

    @cached_property
    def spec(self) -> PositionSpec:
        from transformers import AutoConfig

        return PositionSpec.of_config(AutoConfig.from_pretrained(self.model))

    @property
    def patch(self) -> int:
        return patch_of(self.processor.image_processor)

    @property
    def _template(self) -> str:
        return packaged_path(f"tokens/templates/{self.spec.family}.jinja")

    @cached_property
    def tool(self) -> Tool:
        """Configuration of ``crop_video`` with frames that suit the model's patches."""
        tool = crop_tool(PACKAGED)
        return replace(
            tool, config=tool.config | {"fps": 2.0, "max_frames": 6, "patch": self.patch, **self._pixels(10)}
        )

    @cached_property
    def config(self) -> DictConfig:
        """The shipped demo recipe with this model, this profile, and a generated video."""
        tools = self.folder / "tools.yaml"
        tools.write_text(yaml.safe_dump({"tools": [asdict(self.tool)]}, sort_keys=False))
        overview = {"fps": 0.5, "max_frames": 12, "patch": self.patch, **self._pixels(6)}
        return compose_recipe(
            "longvt_demo",
            [
                f"longvt.run={self.folder}",
                f"actor_rollout_ref.model.path={self.model}",
                f"actor_rollout_ref.model.custom_chat_template=${{longvt.text:tokens/templates/{self.spec.family}.jinja}}",
                f"actor_rollout_ref.rollout.multi_turn.tool_config_path={tools}",
                f"actor_rollout_ref.rollout.max_model_len={PROMPT_TOKENS + RESPONSE_TOKENS}",
                f"data.max_prompt_length={PROMPT_TOKENS}",
                f"data.max_response_length={RESPONSE_TOKENS}",
                f"data.val_files={self.folder / 'rows.parquet'}",
                f"data.longvt.video_root={self.folder}",
                f"+data.longvt.profile={self.profile.name}",
                "~data.longvt.overview",
                *(f"+data.longvt.overview.{key}={value}" for key, value in overview.items()),
            ],
        )

    def rows(self) -> list[dict[str, Any]]:
        """Questions about one video, as ``LongVTDataset`` hands them to the loop."""
        from longvt_plugins.datasets import LongVTDataset

        write_video(self.folder / "video.mp4", SECONDS * RATE, RATE, size=(180, 320))
        rows = [
            RLRow(
                data_source="longvt_verify",
                prompt=[Message(role="user", content=f"<video>\nQuestion {n}: which number is shown?")],
                videos=["video.mp4"],
                question=f"Question {n}",
                ground_truth="17",
                index=n,
            )
            for n in range(len(PLAYS))
        ]
        write_rl_rows(rows, str(self.folder / "rows.parquet"))
        data = self.config.data
        dataset = LongVTDataset(str(data.val_files), self.processor.tokenizer, data, self.processor)
        return [dataset[n] for n in range(len(rows))]

    async def _samples(self) -> list[Sample]:
        rows = self.rows()
        plays: Sequence = PLAYS
        engine = None
        if self.engine == "vllm":
            engine = open_vllm(
                self.model,
                self.dtype,
                PROMPT_TOKENS + RESPONSE_TOKENS,
                self.config.actor_rollout_ref.rollout.limit_images,
            )
        else:
            plays = [tuple(text or ANSWER for text in play) for play in PLAYS]
        try:
            client = RecordingClient(self.config, self.processor, plays, engine)
            output = await worker_outputs(self.config, client, rows)
            samples = []
            for number, row in enumerate(rows):
                request, sample = self._sample(output, number, row, client)
                if engine is not None:
                    scored = await client.score(request, sample.prompt_length, sample.input_ids.tolist())
                    sample = replace(sample, engine_log_probs=scored)
                samples.append(sample)
            return samples
        finally:
            if engine is not None:
                engine.shutdown()

    def _sample(self, output, number: int, row: dict[str, Any], client: RecordingClient) -> tuple[str, Sample]:
        kept = output.batch["attention_mask"][number].bool()
        ids = output.batch["input_ids"][number][kept].numpy()
        prompt_length = int(kept[: output.batch["prompts"].shape[1]].sum())
        transcript = Transcript.model_validate(output.non_tensor_batch["longvt"][number])
        # Questions differ, so the first prompt tells whose generations these are.
        request = max(client.generations, key=lambda r: _common(client.generations[r][0].prompt_ids, ids))
        generations = tuple(client.generations[request])
        mask = output.batch["response_mask"][number][: len(ids) - prompt_length].bool().numpy()
        sampled = np.full(len(ids) - prompt_length, np.nan)
        for generation, log_probs in zip(generations, client.log_probs[request], strict=True):
            start = len(generation.prompt_ids) - prompt_length
            room = len(sampled) - start
            sampled[start : start + len(log_probs)] = log_probs[:room]
        before = transcript.model_copy(update={"turns": _until_sampled(transcript, generations)})
        rendered, _ = render(
            self.processor,
            messages_of(row["raw_prompt"], before, self.profile),
            [self.tool.tool_schema],
            add_generation_prompt=True,
        )
        return request, Sample(
            input_ids=ids,
            prompt_length=prompt_length,
            response_mask=mask,
            position_ids=output.batch["position_ids"][number][1:, kept].numpy(),
            features=dict(output.non_tensor_batch["multi_modal_inputs"][number]),
            transcript=transcript,
            generations=generations,
            sampled_log_probs=sampled,
            rendered_ids=np.array(rendered),
        )

    def seconds_per_grid(self, sample: Sample) -> list[float]:
        """Of each video that stands as video tokens."""
        if not self.profile.video_tokens:
            return []
        return [seconds_per_grid(ref.times_s) for ref in sample.transcript.overview]

    def _pixels(self, tokens: int) -> dict[str, int]:
        """Bounds on a frame: about ``tokens`` of them, or what the processor enlarges pictures to."""
        size = self.processor.image_processor.size
        least = max(self.patch**2, size["shortest_edge"])
        return {"min_pixels": least, "max_pixels": max(2 * least, tokens * self.patch**2)}


def _until_sampled(transcript: Transcript, generations: Sequence[Generation]) -> tuple[Turn, ...]:
    """The turns before the first that the engine wrote, or before the last: a sampled text need not be tokenized as
    a tokenizer would."""
    forced = sum(1 for _ in takewhile(lambda generation: generation.forced, generations))
    starts = [number for number, turn in enumerate(transcript.turns) if turn.role == "assistant"]
    return transcript.turns[: starts[min(forced, len(starts) - 1)]]


def _common(prompt: Sequence[int], ids: np.ndarray) -> int:
    """Length of the common prefix."""
    end = min(len(prompt), len(ids))
    differ = np.flatnonzero(np.array(prompt[:end]) != ids[:end])
    return int(differ[0]) if len(differ) else end
