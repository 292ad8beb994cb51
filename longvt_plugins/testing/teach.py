"""A minute of supervised teaching, so that a tiny checkpoint already calls the crop tool when RL starts.

Demonstrations are made from a recipe's own parts: its rows, overview, tool, template and token layout. Each
shows one crop around the ground truth, deliberately loose and uneven, and the right answer. Only the
assistant's tokens are supervised.

    python -m longvt_plugins.testing.teach longvt_demo --steps 350
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from longvt_plugins.datasets.lmms.collator import MEDIA, LongVTCollator
from longvt_plugins.datasets.rl_rows import read_row
from longvt_plugins.episode import Episode, Limits, write_call
from longvt_plugins.evaluation.questions import Question
from longvt_plugins.tokens.labels import IGNORE, split_turns
from longvt_plugins.tokens.media import media_of
from longvt_plugins.tokens.positions import PositionSpec, position_ids, seconds_per_grid
from longvt_plugins.tokens.profiles import MediaProfile, profile_named, stamp
from longvt_plugins.tokens.render import render
from longvt_plugins.tools.crop_video import CropOptions, crop_video
from longvt_plugins.tools.tool_file import crop_tool
from longvt_plugins.types import MediaRef
from longvt_plugins.video import SamplingPolicy

from .recipe import compose_recipe
from .tiny_model import make_tiny_qwen2_5_vl


@dataclass(frozen=True)
class Demonstration:
    messages: list[dict[str, Any]]
    """Frames by reference."""
    videos: list[MediaRef]
    """What stands there as a video; every other frame is an image."""


@dataclass(frozen=True)
class Setting:
    """The parts of a recipe that shape a conversation."""

    rows: list[dict[str, Any]]
    video_root: str
    overview: SamplingPolicy
    crop: CropOptions
    tool_schema: dict[str, Any]
    profile: MediaProfile

    @classmethod
    def of(cls, config) -> Setting:
        import pyarrow.parquet as pq

        tool = crop_tool(config.actor_rollout_ref.rollout.multi_turn.tool_config_path)
        profile = profile_named(config.data.longvt.get("profile"))
        return cls(
            rows=pq.read_table(config.data.train_files).to_pylist(),
            video_root=config.data.longvt.video_root,
            overview=replace(profile.overview, **config.data.longvt.overview),
            crop=tool.crop,
            tool_schema=tool.tool_schema,
            profile=profile,
        )


def demonstrate(setting: Setting, row: dict[str, Any], rng: random.Random, mixed: bool = False) -> Demonstration:
    """One conversation: look around the ground truth, then answer.

    Args:
        mixed: now and then look in two crops at once, or write a call that cannot be read before one that can.
    """
    path = str(Path(setting.video_root, row["videos"][0]))
    messages = Question("", read_row(row, 0), (path,)).messages(setting.profile, setting.overview)
    overview = media_of(messages)
    (start_s, end_s), answer = row["extra_info"]["segments"][0], row["reward_model"]["ground_truth"]
    start_s, end_s = start_s - rng.choice((0, 0, 1)), end_s + rng.choice((0, 0, 1))
    whole, halves = _call(start_s, end_s), _call(start_s, start_s + 1) + "\n" + _call(start_s + 1, end_s)
    broken = f"<tool_call>\ncrop_video {start_s:.0f} to {end_s:.0f}\n</tool_call>"
    looks = rng.choice(([whole], [whole], [halves], [broken, whole])) if mixed else [whole]
    episode = Episode(Limits(), overview=overview)
    for look in looks:
        text = f"<think>Look there.</think>\n{look}"
        calls = episode.policy_turn(text, 0).calls
        outcomes = [planned.refusal or crop_video(planned.call.arguments, [path], setting.crop) for planned in calls]
        replies = episode.reply(outcomes)
        episode.added(replies, 0)
        messages.append({"role": "assistant", "content": text})
        messages += [{"role": "tool", "content": setting.profile.crop_content(reply)} for reply in replies]
    messages.append({"role": "assistant", "content": f"<think>I see it.</think><answer>{answer}</answer>"})
    return Demonstration(messages, overview if setting.profile.video_tokens else [])


def _call(start_s: float, end_s: float) -> str:
    return write_call("crop_video", f'{{"start_time": {start_s:.0f}, "end_time": {end_s:.0f}}}')


def supervised(ids: Sequence[int], own: Sequence[Sequence[int]]) -> list[int]:
    """Labels of a conversation's ``ids``: ``IGNORE`` but for the policy's own pieces, which stand there in order."""
    labels, begin = [IGNORE] * len(ids), 0
    for piece in own:
        begin = next(at for at in range(begin, len(ids)) if ids[at : at + len(piece)] == piece)
        labels[begin : begin + len(piece)] = piece
        begin += len(piece)
    return labels


def teach(
    model_folder: Path,
    setting: Setting,
    steps: int,
    batch_size: int = 4,
    rate: float = 2e-3,
    seed: int = 0,
    mixed: bool = False,
) -> float:
    """Train the checkpoint in ``model_folder`` in place. Returns the last loss (nats per supervised token)."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    # So small a model gains nothing from more threads, and they wait for each other where cores are shared.
    torch.set_num_threads(1)
    processor = AutoProcessor.from_pretrained(model_folder)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(model_folder, dtype=torch.float32).to(device).train()
    demonstrations = [demonstrate(setting, row, rng, mixed) for row in setting.rows for _ in range(4 if mixed else 2)]
    rng.shuffle(demonstrations)
    spec = PositionSpec.of_config(model.config)
    samples = [sample_of(shown, processor, setting.tool_schema, spec) for shown in demonstrations]
    collate = LongVTCollator(processor.tokenizer.pad_token_id, anchor={})
    batches = [
        {name: tensor.to(device) for name, tensor in collate(samples[i : i + batch_size]).items()}
        for i in range(0, len(samples), batch_size)
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(steps):
        loss = model(**batches[step % len(batches)]).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            elapsed_s = time.monotonic() - started
            print(f"teach step {step:4d} of {steps}, loss {loss.item():.3f}, {elapsed_s:.0f} s", flush=True)
    model.save_pretrained(model_folder)
    return loss.item()


def sample_of(
    shown: Demonstration, processor, tool_schema: dict[str, Any], spec: PositionSpec
) -> dict[str, torch.Tensor]:
    """One sample, as ``LongVTCollator`` takes it: only the policy's own turns are supervised."""
    ids, features = render(processor, shown.messages, [tool_schema])
    features = {name: torch.from_numpy(features[name]) for name in MEDIA if name in features}

    def prefix(messages, add_generation_prompt: bool) -> str:
        return processor.apply_chat_template(
            messages, tools=[tool_schema], add_generation_prompt=add_generation_prompt, tokenize=False
        )

    own = [segment.text for segment in split_turns(shown.messages, prefix) if segment.own]
    labels = supervised(ids, [processor.tokenizer.encode(text, add_special_tokens=False) for text in own])
    seconds = [seconds_per_grid(ref.times_s) for ref in shown.videos]
    grids = [features.get(f"{kind}_grid_thw") for kind in ("image", "video")]
    return {
        "input_ids": torch.tensor(ids),
        "labels": torch.tensor(labels),
        "position_ids": torch.from_numpy(position_ids(ids, *grids, seconds, spec)),
        **features,
    }


def texts_of(setting: Setting, mixed: bool = False) -> list[str]:
    """What the tokenizer will meet, in the proportions in which it meets it."""
    rng = random.Random(0)
    texts = [yaml.safe_dump(setting.tool_schema), str(setting.tool_schema).replace("'", '"')]
    for row in setting.rows:
        for message in demonstrate(setting, row, rng, mixed).messages:
            content = message["content"]
            parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
            texts.append("".join(parts))
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides, as for main_ppo")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden", type=int, default=128, help="width of the model, a multiple of 64")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--spread", type=float, default=0.02, help="deviation of the untaught weights (tiny_model.py)")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--mixed", action="store_true", help="also parallel crops, and calls that cannot be read")
    args = parser.parse_args()
    config = compose_recipe(args.recipe, args.overrides)
    setting = Setting.of(config)
    folder = Path(config.actor_rollout_ref.model.path)
    texts = texts_of(setting, args.mixed)
    make_tiny_qwen2_5_vl(folder, texts, hidden=args.hidden, layers=args.layers, seed=args.seed, spread=args.spread)
    teach(folder, setting, args.steps, rate=args.rate, seed=args.seed, mixed=args.mixed)
    stamp(folder, setting.profile.name)


if __name__ == "__main__":
    main()
