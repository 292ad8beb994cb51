"""``longvt evaluate ROWS --url URL --model NAME -o DIR``: a served checkpoint answers questions with crop_video."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from hashlib import blake2b
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.evaluation.evaluate import SERVED, Evaluation
from longvt_plugins.evaluation.options import read_file
from longvt_plugins.evaluation.questions import read_questions
from longvt_plugins.evaluation.summary import Summary, table

from . import Outcome


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
    parser.add_argument("--concurrency", type=int, default=8, help="conversations at once (default 8)")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the server's key")


def run(args: argparse.Namespace) -> Outcome:
    """Evaluate and show the table. Not fine: a question faulted.

    Raises:
        LongVTError: rows, options or folder with which it cannot be run.
    """
    options, tool = read_file(args.options)
    key = os.environ.get(args.api_key_env, "") if args.api_key_env else "none"
    if not key:
        raise ConfigError(args.api_key_env, "is not set", "Export it, or leave --api-key-env out.")
    evaluation = Evaluation(args.url, args.model, options, tool, args.mode, _hash(args.template), key)
    questions = read_questions(args.rows, args.root)
    asked = 0

    def told(_) -> None:
        nonlocal asked
        asked += 1
        if asked % 50 == 0:
            print(f"{asked} questions asked", file=sys.stderr, flush=True)

    records = asyncio.run(evaluation.run(questions, args.output, args.concurrency, told))
    header = evaluation.header(questions)
    summary = Summary.of(records.values(), len(questions))
    faults = {record.transcript.fault.message for record in records.values() if record.transcript.fault}
    lines = [table([(header, summary)]), *(f"fault: {fault}" for fault in sorted(faults)[:5]), args.output]
    data = {"asked": asked, "output": args.output, **summary.as_dict()}
    return Outcome(not summary.faulted, "\n".join(lines), data)


def _hash(template: Path | None) -> str:
    if template is None:
        return SERVED
    try:
        return blake2b(template.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise ConfigError(str(template), f"cannot be read ({error.strerror})", "Correct --template.") from error
