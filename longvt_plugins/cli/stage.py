"""``longvt stage --name N --folder RUN --inputs ... --outputs ... -- COMMAND``: once for what it is made from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from longvt_plugins.cli import Outcome, command_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="of the stage, unique in its run")
    parser.add_argument("--folder", type=Path, required=True, help="of the run; stamps and logs go to stages/ below it")
    parser.add_argument("--inputs", nargs="*", default=[], metavar="PATH", help="files or folders it reads")
    parser.add_argument("--outputs", nargs="+", required=True, metavar="PATH", help="files or folders it makes")
    parser.add_argument("--show", action="store_true", help="show the command's output instead of writing a log")
    parser.add_argument("--redo", action="store_true", help="make it again if what it was made from has changed")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")


def run(args: argparse.Namespace) -> Outcome:
    """Raises:
    ConfigError, StageError: it cannot be done, or failed.
    """
    from longvt_plugins.pipeline.stage import Stage

    command = command_of(args.command, "stage")
    stage = Stage(args.name, args.folder, tuple(command), tuple(args.inputs), tuple(args.outputs), args.show, args.redo)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        print(f"[{line}]", file=sys.stderr, flush=True)

    stamp = stage.run(say)
    files = {path: state.size for path, state in stamp.outputs.items()}
    text = f"{args.name}: {len(files)} files, {sum(files.values()) / 1e6:.1f} MB, in {' '.join(args.outputs)}"
    return Outcome(True, text, {"said": said, "seconds": stamp.seconds, "files": files})
