"""``longvt migrate OLD.sh``: a launch script of LongVT or verl as a recipe, and what became of its keys."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.migrate import migrate

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("script", type=Path, metavar="OLD.sh")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.yaml", help="where to write the recipe")
    parser.add_argument("--base", default="longvt_7b_rl", help="recipe to inherit (default longvt_7b_rl)")


def run(args: argparse.Namespace) -> Outcome:
    """Translate, and write the recipe or print it.

    Raises:
        ConfigError: no such script or base, no single call of main_ppo, or an output that cannot be written.
    """
    try:
        script = args.script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(args.script), f"cannot be read ({error})", "Correct the path.") from error
    result = migrate(script, args.base)
    try:
        if args.output:
            text = f"# {args.script.name}, by longvt migrate.\n{result.recipe()}"
            args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(args.output), f"cannot be written ({error})", "Correct the path.") from error
    lines = [str(note) for note in result.notes]
    if args.output:
        lines += [f"written: {args.output}. Now: longvt check-recipe {args.output}"]
    else:
        lines += ["", result.recipe().rstrip()]
    data = {"recipe": result.recipe(), "notes": [asdict(note) for note in result.notes]}
    return Outcome(ok=True, text="\n".join(lines), data=data)
