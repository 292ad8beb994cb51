"""Run a training command, show where it is, and end it when it stalls or fails, with nothing left behind.

A worker that fails during weight sync leaves stock verl waiting for ever. The trainer ``longvt_sync`` writes
its phase to ``progress.json``; a run whose phase does not change for ``--idle`` seconds is ended here. All
descendants are ended with it, also those that outlived their parents. With ``--ray`` a run on a cluster ends, too,
when a node is lost, and the message names it.

    longvt watch --folder runs/demo/train --log runs/demo/main_ppo.log -- \\
        python -m verl.trainer.main_ppo --config-name longvt_demo
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

from longvt_plugins.cli import Outcome, command_of
from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.log import explain
from longvt_plugins.launch.nodes import NodeWatch
from longvt_plugins.launch.processes import descendants, ending_all
from longvt_plugins.trainer import progress

POLL_S = 0.5
REMIND_S = 30.0
STALLED, LOST = 124, 125
NOTICE_S = 30.0
"""How long Ray takes to say that a node is lost; the run may fail of it sooner."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, required=True, help="where the trainer writes progress.json")
    parser.add_argument("--log", type=Path, required=True, help="file that receives the command's output")
    parser.add_argument(
        "--idle", type=float, default=1800.0, help="seconds without a new phase that end the run (default 1800)"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="HOST:PORT of the Ray cluster it runs on: watch its nodes")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")


def run(args: argparse.Namespace) -> Outcome:
    command = command_of(args.command, "watch")
    code, message = Watch(command, args.folder, args.log, args.idle, args.ray).run()
    return Outcome(ok=code == 0, text=message, data={"exit_code": code, "message": message})


class Watch:
    """One supervised command."""

    def __init__(self, command: list[str], folder: Path, log: Path, idle_s: float, ray: str | None = None):
        self.command, self.log, self.idle_s, self.ray = command, log, idle_s, ray
        self.progress_file = folder / progress.FILE_NAME
        self.started = time.monotonic()
        self.lost: str | None = None

    def run(self) -> tuple[int, str]:
        """Returns ``(exit code, message)``; 124 when the run stalled, 125 when it was ended for a lost node."""
        output, ended = self._open_log(), 0
        with ending_all():
            nodes = NodeWatch(self.ray) if self.ray else None
            with output:
                child = self._start(output)
            code = self._follow(child, nodes)
            if nodes:
                if code not in (0, STALLED, LOST):
                    self.lost = nodes.lost(wait_s=NOTICE_S)
                nodes.stop()
            ended = len(descendants(os.getpid()))
        if code == 0:
            return 0, f"finished after {self._elapsed():.0f} s"
        if self.lost:
            return code, f"{self.lost}. The run ended in '{self._phase()}'. Full log: {self.log}"
        if code == STALLED:
            message = f"stalled: no new phase for {self.idle_s:.0f} s in '{self._phase()}'; ended {ended} processes"
        else:
            message = f"failed with exit code {code} in '{self._phase()}'"
        return code, f"{message}. Full log: {self.log}\n{explain(self.log)}"

    def _open_log(self) -> BinaryIO:
        try:
            self.progress_file.unlink(missing_ok=True)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            return self.log.open("wb")
        except OSError as error:
            rule = f"cannot be written ({error.strerror})"
            raise ConfigError(error.filename, rule, "Choose another --folder or --log.") from error

    def _start(self, output: BinaryIO) -> subprocess.Popen:
        try:
            return subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        except OSError as error:
            rule = f"is not a command ({error.strerror})"
            raise ConfigError(self.command[0], rule, "Name an executable after --.") from error

    def _follow(self, child: subprocess.Popen, nodes: NodeWatch | None) -> int:
        self._say(f"started {' '.join(self.command[:4])} ...", None)
        seen, since, reminded = None, time.monotonic(), time.monotonic()
        while True:
            try:
                return child.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                pass
            if nodes and (lost := nodes.lost()):
                self.lost = lost
                return LOST
            now, record = time.monotonic(), progress.read(self.progress_file)
            if record != seen:
                seen, since, reminded = record, now, now
                self._say(record["phase"], record)
            elif now - since > self.idle_s:
                return STALLED
            elif now - reminded > REMIND_S:
                reminded = now
                self._say(f"still {self._phase()}", record)

    def _phase(self) -> str:
        record = progress.read(self.progress_file)
        return record["phase"] if record else "start-up"

    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def _say(self, what: str, record: dict | None) -> None:
        step = f"step {record['step']}/{record['total_steps']}: " if record and record["step"] else ""
        print(f"[{self._elapsed():5.0f} s] {step}{what}", flush=True)
