"""``longvt data list``, ``longvt data convert NAME INPUT ... -o FILE``, ``longvt data rollouts FOLDER ... -o FILE``."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError, DataError

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the formats that can be converted, and how each is known")
    convert = actions.add_parser("convert", help="a public dataset into RL rows or SFT chains")
    convert.add_argument("name", help="one of: longvt data list")
    convert.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="parquet, json, jsonl or txt")
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="parquet to write")
    convert.add_argument("--data-source", default="", help="name by which the reward knows the rows")
    convert.add_argument("--split", default="train")
    convert.add_argument("--system", help="system prompt of RL rows")
    rollouts = actions.add_parser("rollouts", help="trajectories of a run into RFT traces")
    rollouts.add_argument("folder", type=Path, help="trajectories of a longvt_sync run (<local_dir>/trajectories)")
    rollouts.add_argument("--rows", nargs="+", type=Path, required=True, help="the run's RL files, in its order")
    rollouts.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="parquet to write")
    rollouts.add_argument("--split", default="train", choices=("train", "val"))
    shown = rollouts.add_mutually_exclusive_group()
    shown.add_argument("--tools", help="tool YAML of the run (multi_turn.tool_config_path); needed if it called a tool")
    shown.add_argument("--no-tools", action="store_true", help="write traces without the schemas of the run's tools")
    rollouts.add_argument("--root", default="", help="write paths below it relative to it")
    rollouts.add_argument("--tokenizer", help="checkpoint: prove that each text gives the policy's tokens")
    rollouts.add_argument("--acc", type=float, default=1.0, help="least answer score (default 1)")
    rollouts.add_argument("--format", type=float, default=1.0, help="least format score (default 1)")
    rollouts.add_argument("--grounding", type=float, help="least IoU of the crops")
    rollouts.add_argument("--crops", type=int, default=0, help="least crops that returned frames")
    rollouts.add_argument("--max-tokens", type=int, help="most tokens the policy generated")
    rollouts.add_argument("--per-question", type=int, help="most traces of one question")


def run(args: argparse.Namespace) -> Outcome:
    """Do the action.

    Raises:
        ConfigError: an unknown name, an output that cannot be written, no tokenizer, or calls of tools that are not
            named.
        DataError: an input that cannot be read as what it should be.
    """
    return {"list": _list, "convert": _convert, "rollouts": _rollouts}[args.action](args)


def _list(args: argparse.Namespace) -> Outcome:
    from longvt_plugins.datasets.convert import CONVERTERS

    lines = [
        f"{name:<17} {c.what}\n{'':<17} into {c.into} rows; needs {', '.join(c.needs)}; known from: {c.seen}"
        for name, c in CONVERTERS.items()
    ]
    data = {
        name: {"what": c.what, "into": c.into, "needs": c.needs, "known_from": c.seen} for name, c in CONVERTERS.items()
    }
    return Outcome(ok=True, text="\n".join(lines), data={"converters": data})


def _convert(args: argparse.Namespace) -> Outcome:
    from longvt_plugins.datasets.convert import Funnel, Options, convert_records, converter_named
    from longvt_plugins.datasets.convert.sources import records_of
    from longvt_plugins.datasets.schema import write_chains, write_rl_rows

    converter, funnel = converter_named(args.name), Funnel()
    options = Options(data_source=args.data_source or args.name.replace("-", "_"), split=args.split)
    if args.name.startswith("longvt-"):
        options = Options(data_source=args.data_source, split=args.split)
    if args.system is not None:
        options = Options(options.data_source, options.split, args.system)
    records = (record for path in args.inputs for record in records_of(path))
    write = write_rl_rows if converter.into == "rl" else write_chains
    return _written(args.output, funnel, lambda path: write(convert_records(args.name, records, options, funnel), path))


def _rollouts(args: argparse.Namespace) -> Outcome:
    from longvt_plugins.datasets.convert import Funnel
    from longvt_plugins.datasets.convert.rollouts import Standards, traces_of
    from longvt_plugins.datasets.schema import write_chains
    from longvt_plugins.trainer import trajectory_log

    if not (args.folder / args.split).is_dir():
        raise ConfigError(str(args.folder / args.split), "is no folder", "Name the trajectories of a longvt_sync run.")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _rl_rows(args.rows):
        rows.setdefault(str(row["extra_info"]["index"]), []).append(row)
    standards = Standards(args.acc, args.format, args.grounding, args.max_tokens, args.crops, args.per_question)
    encode, tools, funnel = None, [] if args.no_tools else None, Funnel()
    if args.tools:
        from longvt_plugins.tools.tool_file import read_schemas

        tools = read_schemas(args.tools)
    if args.tokenizer:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
        except (OSError, ValueError) as error:
            why = f"has no tokenizer that can be read ({str(error).splitlines()[0]})"
            raise ConfigError(args.tokenizer, why, "Correct --tokenizer.") from error
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    traces = traces_of(
        trajectory_log.read(args.folder, args.split),
        rows,
        standards,
        funnel,
        tools=tools,
        root=args.root,
        encode=encode,
    )
    return _written(args.output, funnel, lambda path: write_chains(traces, path))


def _rl_rows(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Numbered through all files, as the run numbered them."""
    from longvt_plugins.datasets.rl_rows import read_row
    from longvt_plugins.datasets.tables import rows_of

    numbers = itertools.count()
    for path in paths:
        for offset, row in enumerate(rows_of(path)):
            try:
                yield read_row(row, next(numbers))
            except DataError as error:
                raise DataError(f"{path}, row {offset}, {error.value}", error.rule, error.remedy) from error


def _written(output: Path, funnel, write) -> Outcome:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(output)
    except OSError as error:
        raise ConfigError(str(output), f"cannot be written ({error.strerror})", "Choose another file.") from error
    data = {"read": funnel.read, "written": funnel.written, "left_out": dict(funnel.left_out), "output": str(output)}
    last = f"-> {output}" if funnel.written else f"{output} is not written: no row is left"
    return Outcome(ok=funnel.written > 0, text="\n".join([*funnel.lines(), last]), data=data)
