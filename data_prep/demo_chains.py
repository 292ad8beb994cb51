"""Demonstrations for the demo's SFT: each question of the demo answered with one crop, as conversations on disk.

Made from the RL recipe's own rows and tool, so that what is taught is what a rollout will show. Also writes the
checkpoint to start from: random weights, and a tokenizer trained on these texts.

    python -m data_prep.demo_footage runs/demo/data && python -m data_prep.demo_chains runs/demo
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longvt_plugins.datasets.schema import Chain, write_chains
from longvt_plugins.testing.teach import Setting, texts_of
from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl

from .chains import Look, conversation


def chain_of(setting: Setting, row: dict[str, Any], rng: random.Random, name: str) -> Chain:
    """One conversation: a crop around the ground truth, deliberately loose and uneven, then the right answer."""
    start_s, end_s = row["extra_info"]["segments"][0]
    look = Look("Look there.", (start_s - rng.choice((0, 0, 1)), end_s + rng.choice((0, 0, 1))))
    return conversation(setting, row, [look], "I see it.", row["reward_model"]["ground_truth"], name)


def demonstrations(setting: Setting, each: int = 4, seed: int = 0) -> Iterator[Chain]:
    rng = random.Random(seed)
    for number in range(each):
        for row in setting.rows:
            yield chain_of(setting, row, rng, f"demo_{row['extra_info']['index']}_{number}")


def prepare(folder: Path, each: int = 4, seed: int = 0) -> int:
    """Write ``data/chains.parquet`` and ``sft_start/`` below ``folder``, which holds the demo's ``data/``."""
    from longvt_plugins.testing.recipe import compose_recipe

    setting = Setting.of(compose_recipe("longvt_demo", [f"longvt.run={folder}"]))
    count = write_chains(demonstrations(setting, each, seed), folder / "data" / "chains.parquet")
    make_tiny_qwen2_5_vl(folder / "sft_start", texts_of(setting), seed=seed)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=4, help="demonstrations of each question")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{prepare(args.folder, args.each, args.seed)} conversations in {args.folder / 'data' / 'chains.parquet'}")


if __name__ == "__main__":
    main()
