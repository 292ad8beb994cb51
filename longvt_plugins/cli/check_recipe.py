"""``longvt check-recipe NAME [OVERRIDES]``: what would stop a run, or be ignored by it, found in seconds."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from longvt_plugins.launch.check import check_recipe

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="as for --config-name (longvt_7b_rl), or FILE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="Hydra overrides, as for main_ppo")
    parser.add_argument("--no-files", action="store_true", help="data, checkpoint and media are on another machine")


def run(args: argparse.Namespace) -> Outcome:
    """One line per finding.

    Raises:
        ConfigError: no such recipe.
    """
    found = check_recipe(args.name, args.overrides, files=not args.no_files)
    lines = [str(finding) for finding in found] or [f"{args.name}: nothing found"]
    return Outcome(ok=not found, text="\n".join(lines), data={"findings": [asdict(finding) for finding in found]})
