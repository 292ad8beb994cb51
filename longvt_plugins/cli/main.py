"""``longvt VERB ...``. Exit code 0: fine; 1: it ran and found something wrong; 2: it could not run as asked.

A verb is a line in ``VERBS`` and a module ``longvt_plugins/cli/<verb>.py`` with ``add_arguments(parser)`` and
``run(args) -> Outcome``. Dashes in a verb are underscores in its module.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence

from longvt_plugins import __version__
from longvt_plugins.cli.extras import missing_extra
from longvt_plugins.errors import LongVTError

VERBS = {
    "ask": "a question about a video, to a served checkpoint: one conversation, turn by turn",
    "check-data": "what is wrong with dataset files, row by row",
    "check-recipe": "what would stop a run of this recipe, or be ignored by it",
    "compare": "two evaluations, question by question",
    "data": "convert public datasets and rollouts into rows",
    "crop": "cut a window out of a video as the tool does, and save its frames",
    "doctor": "is this installation able to run? names what is not",
    "evaluate": "a served checkpoint answers questions with crop_video; a record each, and a table",
    "judge": "the LLM judge: check an endpoint, rescore finished rollouts, compare two scorings",
    "launch": "a recipe on several nodes: starts Ray, examines every node, runs, watches, takes down",
    "merge": "a checkpoint of lmms-engine or verl as a model folder to serve or to start from",
    "migrate": "a launch script of LongVT or verl as a recipe, and what became of its keys",
    "pilot": "can GRPO learn from what this checkpoint rolls out? a few rollouts of the recipe, and a verdict",
    "report": "evaluations of the stages of a run, and its rewards: a table and a plot",
    "serve": "run a command beside a vLLM server of a checkpoint on loopback, and end the server with it",
    "stage": "run a command once for what it is made from: skip, go on, or refuse",
    "summary": "what a run did: steps, reward parts, tool calls, files",
    "verify": "does the trainer see exactly what the rollout engine saw, with this checkpoint?",
    "watch": "run a training command, show its progress, end it if it stalls",
}


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    called = next((word for word in argv if not word.startswith("-")), "")
    as_json = "--json" in argv
    try:
        args = _parse(_parser(called), argv)
        as_json = args.json
        outcome = args.run(args)
    except LongVTError as error:
        return _fail(called, as_json, error)
    except ModuleNotFoundError as error:
        if (told := missing_extra(error, called)) is None:
            raise
        return _fail(called, as_json, told)
    except KeyboardInterrupt:
        return 130
    print(json.dumps({"ok": outcome.ok, **outcome.data}, indent=2) if args.json else outcome.text)
    return 0 if outcome.ok else 1


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Hydra overrides may stand after options, too, where argparse looks for none."""
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def _parser(called: str) -> argparse.ArgumentParser:
    """Knows the arguments of the verb that is called; of the others, that they exist."""
    parser = argparse.ArgumentParser(prog="longvt", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"longvt-plugins {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, help_text in VERBS.items():
        verb = verbs.add_parser(name, help=help_text, description=help_text)
        verb.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        if name == called:
            module = importlib.import_module(f"longvt_plugins.cli.{name.replace('-', '_')}")
            module.add_arguments(verb)
            verb.set_defaults(run=module.run)
    return parser


def _fail(verb: str, as_json: bool, error: LongVTError) -> int:
    if as_json:
        print(json.dumps({"ok": False, "error": {"kind": error.kind, "message": str(error)}}, indent=2))
    else:
        print(f"longvt {verb}: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
