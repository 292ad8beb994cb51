"""What a stage was made from and what it made, on disk: ``FOLDER/stages/NAME.json``.

Written when the stage begins, and again, last of all, when it is done; each time whole. Files are known by a hash of
their content; one whose size and time of change are as recorded is not read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import Record

CHUNK = 1 << 22


class FileState(Record):
    size: int
    modified_ns: int
    hash: str


class Origin(Record):
    """Everything that what a stage makes depends on. Two that are equal make the same."""

    command: tuple[str, ...]
    recipe: dict[str, Any]
    """The composed recipe that the command trains with, flat; empty for other commands."""
    packages: dict[str, str]
    inputs: dict[str, str]
    """Hash of each input file."""


class Stamp(Record):
    version: Literal[1] = 1
    state: Literal["begun", "done"]
    origin: Origin
    inputs: dict[str, FileState]
    makes: tuple[str, ...] = ()
    """Paths of its outputs; their files are in ``outputs`` once it is done."""
    places: dict[str, Any] = Field(default_factory=dict)
    """As ``Recipe.places``. Others make the same."""
    outputs: dict[str, FileState] = Field(default_factory=dict)
    seconds: float = 0.0
    """That making it took, of the last attempt."""


def read_stamp(path: Path) -> Stamp | None:
    """``None``: there is none.

    Raises:
        ConfigError: the file is no stamp.
    """
    try:
        return Stamp.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            str(path), f"is no stamp of a stage ({reason})", "Remove it with the stage's files."
        ) from error


def write_stamp(path: Path, stamp: Stamp) -> None:
    """Whole or not at all, and on the disk before the name is there.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(stamp.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def states_of(paths: Iterable[str], known: Mapping[str, FileState] | None = None) -> dict[str, FileState]:
    """State of every file at or below ``paths``, by path, sorted.

    Args:
        known: what is recorded of them; a file of the same size and time keeps its hash.

    Raises:
        ConfigError: a path does not exist, or cannot be read.
    """
    known, files = known or {}, sorted({file for path in paths for file in _files(path)})
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(files, pool.map(lambda file: _state(file, known.get(file)), files), strict=True))


def changes(old: Mapping[str, Any], new: Mapping[str, Any], what: str) -> list[str]:
    """``what KEY: new, was old`` for each difference of two mappings."""
    keys = [*new, *(key for key in old if key not in new)]
    shown = lambda side, key: repr(side[key]) if key in side else "nothing"  # noqa: E731
    return [
        f"{what} {key}: {shown(new, key)}, was {shown(old, key)}"
        for key in keys
        if (key in old) != (key in new) or old.get(key) != new.get(key)
    ]


def origin_changes(old: Origin, new: Origin) -> list[str]:
    found = [f"file {key} changed" for key in new.inputs if old.inputs.get(key) not in (None, new.inputs[key])]
    found += [f"file {key} is new" for key in new.inputs if key not in old.inputs]
    found += [f"file {key} is gone" for key in old.inputs if key not in new.inputs]
    found += changes(old.packages, new.packages, "package")
    found += changes(old.recipe, new.recipe, "recipe")
    if old.command != new.command:
        found.append(f"command: {' '.join(new.command)}, was {' '.join(old.command)}")
    return found


def _files(path: str) -> list[str]:
    if os.path.isfile(path):
        return [path]
    if not os.path.isdir(path):
        raise ConfigError(path, "does not exist", "Run the stage that makes it, or correct the path.")
    return [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]


def _state(path: str, known: FileState | None) -> FileState:
    try:
        status = os.stat(path)
        if known and (known.size, known.modified_ns) == (status.st_size, status.st_mtime_ns):
            return known
        digest = blake2b(digest_size=16)
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise ConfigError(path, f"cannot be read ({error.strerror})", "Correct the file or its path.") from error
    return FileState(size=status.st_size, modified_ns=status.st_mtime_ns, hash=digest.hexdigest())
