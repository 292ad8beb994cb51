"""``longvt evaluate ROWS --url URL --model NAME -o DIR``: a served checkpoint answers questions with crop_video."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.evaluation.evaluate import Evaluation, template_hash, weights_hash
from longvt_plugins.evaluation.options import read_file
from longvt_plugins.evaluation.questions import read_questions
from longvt_plugins.evaluation.summary import Summary, fault_lines, table

from . import Outcome, Told, key_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows", help="RL rows, a parquet file")
    parser.add_argument("--url", required=True, help="base URL of an OpenAI-compatible server, with /v1")
    parser.add_argument("--model", required=True, help="name under which the server serves the checkpoint")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="the result; run again to go on with it")
    parser.add_argument("--mode", choices=("crops", "no-tool", "blank"), default="crops", help="blank: crops are black")
    parser.add_argument(
        "--options", metavar="YAML", help="overview, tool, limits, sampling, reward (EvaluationOptions)"
    )
    parser.add_argument("--root", metavar="DIR", help="where the videos lie (default: beside ROWS)")
    parser.add_argument("--template", type=Path, help="chat template that the server was started with, for the header")
    parser.add_argument("--checkpoint", metavar="DIR", help="that is served: a result of other weights is refused")
    parser.add_argument("--concurrency", type=int, default=8, help="conversations at once (default 8)")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the server's key")


def run(args: argparse.Namespace) -> Outcome:
    """Evaluate and show the table. Not fine: a question faulted.

    Raises:
        LongVTError: rows, options or folder with which it cannot be run.
    """
    options, tool = read_file(args.options)
    key = key_of(args.api_key_env)
    template = template_hash(_template(args.template))
    weights = _weights(args.checkpoint) if args.checkpoint else None
    evaluation = Evaluation(args.url, args.model, options, tool, args.mode, template, weights, key)
    questions = read_questions(args.rows, args.root)
    told = Told("{} questions asked")
    records = asyncio.run(evaluation.run(questions, args.output, args.concurrency, told))
    header = evaluation.header(questions)
    summary = Summary.of(records.values(), len(questions))
    lines = [table([(header, summary)]), *fault_lines(records.values()), args.output]
    data = {"asked": told.count, "output": args.output, **summary.as_dict()}
    return Outcome(not summary.faulted, "\n".join(lines), data)


def _weights(checkpoint: str) -> str:
    if (weights := weights_hash(checkpoint)) is None:
        raise ConfigError(checkpoint, "is no folder with *.safetensors", "Correct --checkpoint, or leave it out.")
    return weights


def _template(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})", "Correct --template.") from error
