"""``longvt ask VIDEO QUESTION --url URL --model NAME``: one conversation with a served checkpoint, turn by turn."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from longvt_plugins.datasets.convert import Options
from longvt_plugins.evaluation.evaluate import Evaluation
from longvt_plugins.evaluation.options import read_file
from longvt_plugins.evaluation.questions import Question
from longvt_plugins.reward.judge.prompt import clean

from . import Outcome, key_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", type=Path, help="a local video file")
    parser.add_argument("question")
    parser.add_argument("--url", required=True, help="base URL of an OpenAI-compatible server, with /v1")
    parser.add_argument("--model", required=True, help="name under which the server serves the checkpoint")
    parser.add_argument("--options", metavar="YAML", help="as for longvt evaluate")
    parser.add_argument("--system", default=Options.system, help="system prompt, as the checkpoint was taught")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the server's key")


def run(args: argparse.Namespace) -> Outcome:
    """Converse and show what was said. Not fine: it ended without an answer.

    Raises:
        LongVTError: options with which it cannot be asked.
    """
    options, tool = read_file(args.options)
    evaluation = Evaluation(args.url, args.model, options, tool, api_key=key_of(args.api_key_env))
    prompt = [
        {"role": "system", "content": args.system},
        {"role": "user", "content": f"<video>\n{args.question.replace('<video>', '')}"},
    ]
    question = Question("0", {"prompt": prompt, "extra_info": {}}, (str(args.video.absolute()),))
    transcript = asyncio.run(evaluation.converse(question))
    lines = [f"{turn.role}> {turn.text}" for turn in transcript.turns]
    if transcript.fault:
        lines.append(f"fault> {transcript.fault.kind}: {transcript.fault.message}")
    lines.append(f"ended by {transcript.ended_by}, {len(transcript.crops_ok())} crops")
    # Its words could hold a terminal's escape sequences.
    return Outcome(transcript.ended_by == "answer", clean("\n".join(lines)), transcript.model_dump(mode="json"))
