"""``longvt merge CHECKPOINT -o FOLDER``: a trainer's sharded checkpoint as a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from longvt_plugins.cli import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="lmms-engine's checkpoint-N, verl's global_step_N, or a folder of them: its newest",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="new, for the model")


def run(args: argparse.Namespace) -> Outcome:
    """Raises:
    ConfigError, StageError: it cannot be merged.
    """
    from longvt_plugins.pipeline.merge import merge

    trainer = merge(args.checkpoint, args.output)
    text = f"{args.output}: merged from {args.checkpoint} of {trainer}"
    return Outcome(True, text, {"output": str(args.output), "trainer": trainer})
