"""``longvt report RESULT ... [--rl TRAJECTORIES] -o FOLDER``: ``table.md`` and ``plot.png``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from longvt_plugins.cli import Outcome
from longvt_plugins.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="*", metavar="RESULT", help="folders of longvt evaluate, stage by stage")
    parser.add_argument("--rl", type=Path, metavar="TRAJECTORIES", help="of the RL run (<local_dir>/trajectories)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")


def run(args: argparse.Namespace) -> Outcome:
    """Raises:
    ConfigError, DataError: results that cannot stand in one table; no trajectories; no folder to write to.
    """
    from longvt_plugins.evaluation.plot import save_plot
    from longvt_plugins.evaluation.report import read_results, read_steps, results_table, steps_table

    results = read_results(args.results)
    steps = read_steps(args.rl) if args.rl else []
    parts = [results_table(results)] * bool(results) + [steps_table(steps)] * bool(steps)
    text = "\n\n".join(parts)
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "table.md").write_text(text + "\n", encoding="utf-8")
        save_plot(results, steps, args.output / "plot.png")
    except OSError as error:
        raise ConfigError(
            str(args.output), f"cannot be written ({error.strerror})", "Choose another folder."
        ) from error
    found = [{"model": h.model, "mode": h.mode, **s.as_dict()} for h, s in results]
    return Outcome(bool(parts), text, {"results": found, "steps": [asdict(step) for step in steps]})
