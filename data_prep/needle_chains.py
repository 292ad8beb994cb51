"""Demonstrations of the needle task for SFT: a demonstrator that is not always right about where to look.

It looks at the scene in question, at too wide a window, or at another scene, until the frames it was shown hold the
digit; now and then it guesses without a look. What it says it saw, it was shown. So SFT teaches form and tool, and
leaves to RL what is left to improve: to look in the right place at once.

    python -m data_prep.needle_chains runs/pipeline_demo --recipe longvt_pipeline_demo_rl

reads the recipe's training rows and tool, and writes ``chains.parquet`` and ``start/``, a random checkpoint whose
tokenizer was trained on these texts.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longvt_plugins.datasets.schema import Chain, write_chains
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.tasks.needle import read_digit
from longvt_plugins.testing.teach import Setting
from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
from longvt_plugins.types import Span
from longvt_plugins.video import clip_store, probe

from .chains import Look, conversation, crop, texts_of

STYLES = {"right": 0.5, "wide": 0.25, "elsewhere": 0.15, "guess": 0.1}
"""What the demonstrator does first, and how often."""


def demonstrate(setting: Setting, row: dict[str, Any], style: str, rng: random.Random, name: str) -> Chain:
    """One conversation about a row of the needle task."""
    (scene,), options = row["extra_info"]["segments"], row["extra_info"]["options"]
    if style == "guess":
        return conversation(setting, row, [], "I guess.", rng.choice(options), name)
    windows = [first_window(setting, row, tuple(scene), style, rng)]
    if not shows_digit(setting, row, windows[0]):
        windows.append(tuple(scene))
    digit = row["reward_model"]["ground_truth"]
    looks = [Look(f"I look from {start_s:.0f} to {end_s:.0f} s.", (start_s, end_s)) for start_s, end_s in windows]
    return conversation(setting, row, looks, "I see it.", digit, name)


def first_window(setting: Setting, row: dict[str, Any], scene: Span, style: str, rng: random.Random) -> Span:
    """Of whole scenes."""
    scene_s = scene[1] - scene[0]
    info = probe(Path(setting.video_root, row["videos"][0]))
    start_s = rng.choice([n * scene_s for n in range(round(info.duration_s / scene_s)) if n * scene_s != scene[0]])
    elsewhere = (start_s, start_s + scene_s)
    wide = (min(scene[0], start_s), max(scene[1], elsewhere[1]))
    return {"right": scene, "elsewhere": elsewhere, "wide": wide}[style]


def shows_digit(setting: Setting, row: dict[str, Any], window: Span) -> bool:
    """Whether the frames of a crop show a digit of the scene in question."""
    media = crop(setting, row, window).media
    return read_digit(clip_store.get(media), row["extra_info"]["options"], code_of(row)) is not None


def code_of(row: dict[str, Any]) -> str:
    """The code that a question names."""
    return re.search(r"the code (\w+)", row["extra_info"]["question"])[1]


def demonstrations(setting: Setting, each: int = 8, seed: int = 0) -> Iterator[Chain]:
    """``each`` conversations about every row, in the proportions of ``STYLES``."""
    rng = random.Random(seed)
    for number in range(each):
        for row in setting.rows:
            (style,) = rng.choices(list(STYLES), STYLES.values())
            yield demonstrate(setting, row, style, rng, f"needle_{row['extra_info']['index']}_{number}_{style}")


def prepare(folder: Path, recipe: str, each: int = 8, seed: int = 0) -> int:
    """Write chains and checkpoint below ``folder``, which holds the task's ``data/``; returns how many chains."""
    setting = Setting.of(compose_recipe(recipe, [f"longvt.data={folder}/data"]))
    chains = list(demonstrations(setting, each, seed))
    # Without the codes, so that none is a token of its own: those of other splits are then letters that were taught.
    codes = re.compile("|".join({code_of(row) for row in setting.rows}))
    texts = [codes.sub("", text) for text in texts_of(chains)]
    make_tiny_qwen2_5_vl(folder / "start", texts, seed=seed, spread=0.08)
    return write_chains(chains, folder / "chains.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="longvt_pipeline_demo_rl")
    parser.add_argument("--each", type=int, default=8, help="conversations about each question")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    count = prepare(args.folder, args.recipe, args.each, args.seed)
    print(f"{count} conversations in {args.folder / 'chains.parquet'}")


if __name__ == "__main__":
    main()
