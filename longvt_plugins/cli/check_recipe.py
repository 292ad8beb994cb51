"""``longvt check-recipe NAME [OVERRIDES]``: what would stop a run, or be ignored by it, found in seconds."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from longvt_plugins.launch.check import CARD_GIB, examine

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="as for --config-name (longvt_7b_rl), or FILE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="Hydra overrides, as for main_ppo")
    parser.add_argument("--gpu-memory-gib", type=float, default=CARD_GIB, help="of each GPU (default 80)")
    parser.add_argument("--no-files", action="store_true", help="data, checkpoint and media are on another machine")


def run(args: argparse.Namespace) -> Outcome:
    """One line per finding, then what was counted and estimated.

    Raises:
        ConfigError: no such recipe.
    """
    done = examine(args.name, args.overrides, files=not args.no_files, card_gib=args.gpu_memory_gib)
    lines = [str(finding) for finding in done.findings] or [f"{args.name}: nothing found"]
    data = {"findings": [asdict(finding) for finding in done.findings], "notes": done.notes}
    return Outcome(ok=not done.findings, text="\n".join([*lines, *done.notes]), data=data)
