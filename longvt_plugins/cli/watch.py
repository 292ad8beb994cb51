"""Run a training command, show where it is, and end it when it stalls or fails, with nothing left behind.

A worker that fails during weight sync leaves stock verl waiting for ever. The trainer ``longvt_sync`` writes
its phase to ``progress.json``; a run whose phase does not change for ``--idle`` seconds is ended here. All
descendants are ended with it, also those that outlived their parents: this process adopts them
(``PR_SET_CHILD_SUBREAPER``), so none escapes.

    longvt watch --folder runs/demo/train --log runs/demo/main_ppo.log -- \\
        python -m verl.trainer.main_ppo --config-name longvt_demo
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from longvt_plugins.cli import Outcome
from longvt_plugins.errors import ConfigError
from longvt_plugins.pipeline.processes import explain
from longvt_plugins.trainer import progress

POLL_S = 0.5
REMIND_S = 30.0
GRACE_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, required=True, help="where the trainer writes progress.json")
    parser.add_argument("--log", type=Path, required=True, help="file that receives the command's output")
    parser.add_argument("--idle", type=float, default=1800.0, help="seconds without a new phase that end the run")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")


def run(args: argparse.Namespace) -> Outcome:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise ConfigError("longvt watch", "needs a command after --", "See longvt watch --help.")
    code, message = Watch(command, args.folder, args.log, args.idle).run()
    return Outcome(ok=code == 0, text=message, data={"exit_code": code, "message": message})


class Watch:
    """One supervised command."""

    def __init__(self, command: list[str], folder: Path, log: Path, idle_s: float):
        self.command, self.log, self.idle_s = command, log, idle_s
        self.progress_file = folder / progress.FILE_NAME
        self.started = time.monotonic()

    def run(self) -> tuple[int, str]:
        """Returns ``(exit code, message)``; 124 when the run stalled."""
        self.progress_file.unlink(missing_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            with self.log.open("wb") as output:
                child = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                )
            code = self._follow(child)
        except FileNotFoundError as error:
            raise ConfigError(self.command[0], "is not a command", "Name an executable after --.") from error
        finally:
            signal.signal(signal.SIGTERM, previous)
            ended = end_descendants()
        if code == 0:
            return 0, f"finished after {self._elapsed():.0f} s"
        if code == 124:
            message = f"stalled: no new phase for {self.idle_s:.0f} s in '{self._phase()}'; ended {ended} processes"
        else:
            message = f"failed with exit code {code} in '{self._phase()}'"
        return code, f"{message}. Full log: {self.log}\n{explain(self.log)}"

    def _follow(self, child: subprocess.Popen) -> int:
        self._say(f"started {' '.join(self.command[:4])} ...", None)
        seen, since, reminded = None, time.monotonic(), time.monotonic()
        while True:
            try:
                return child.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                pass
            now, record = time.monotonic(), progress.read(self.progress_file)
            if record != seen:
                seen, since, reminded = record, now, now
                self._say(record["phase"], record)
            elif now - since > self.idle_s:
                return 124
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


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            # The command name, in parentheses, may hold spaces and parentheses.
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry))
    found, open_ends = [], [root]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def end_descendants() -> int:
    """End every process below this one: asked first, then forced. Returns how many there were."""
    ended: set[int] = set()
    for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        deadline = time.monotonic() + wait_s
        while (left := descendants(os.getpid())) and time.monotonic() < deadline:
            for pid in left:
                if number == signal.SIGKILL or pid not in ended:
                    try:
                        os.kill(pid, number)
                    except ProcessLookupError:
                        continue
                    ended.add(pid)
            time.sleep(0.1)
            _reap()
    return len(ended)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
