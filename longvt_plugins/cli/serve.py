"""``longvt serve --checkpoint DIR --name NAME --log FILE [--vllm="OPTIONS"] -- COMMAND``: a server for one command.

The command finds the server's base URL in ``$LONGVT_SERVER``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from longvt_plugins.cli import Outcome, command_of
from longvt_plugins.errors import ConfigError

URL_VARIABLE = "LONGVT_SERVER"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--name", required=True, help="under which the checkpoint is served")
    parser.add_argument("--log", type=Path, required=True, help="receives the server's output")
    parser.add_argument("--vllm", default="", metavar="OPTIONS", help="further ones of vllm serve, in quotes")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds until it must be healthy (default 900)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command; it finds $LONGVT_SERVER")


def run(args: argparse.Namespace) -> Outcome:
    """Raises:
    ConfigError: no command, or options that are no words of a shell.
    StageError: the server does not come up.
    """
    from longvt_plugins.pipeline.serve import served

    command = command_of(args.command, "serve")
    try:
        options = shlex.split(args.vllm)
    except ValueError as error:
        raise ConfigError(f"--vllm {args.vllm}", f"cannot be split ({error})", "Correct its quotes.") from error
    if shutil.which(command[0]) is None:
        raise ConfigError(command[0], "is not a command", "Name an executable after --.")
    with served(args.checkpoint, args.name, args.log, options, args.timeout) as url:
        code = subprocess.run(command, env={**os.environ, URL_VARIABLE: url}).returncode
    return Outcome(code == 0, f"{args.name}: {command[0]} ended with {code}", {"exit_code": code, "log": str(args.log)})
