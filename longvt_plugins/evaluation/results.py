"""A result on disk: ``header.json``, what was asked of whom and how, and ``records.jsonl``, a line per question.

A line is written whole, at the end of the file, when its question is done; what a kill tore off at the end is cut
away when the evaluation goes on. Then a question whose last record is a fault is asked again, an answer that nobody
could judge is judged again, and the last record counts. One process at a time holds a result.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import ValidationError

from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.types import Record, RewardRecord, Span, TokenEntropy, Transcript

from .options import Mode

HEADER, RECORDS = "header.json", "records.jsonl"
NO_MATTER = ("endpoints", "ledger")
"""Options of the judge on which no score depends: where it is asked, with which key, and where verdicts are kept. Which
judge answered is in the records (``judges_of``)."""


class Header(Record):
    """How it was asked. Two results compare if they differ in ``model`` or in ``mode`` alone, and one judge, if any,
    answered for both."""

    version: Literal[1] = 1
    model: str
    """Name under which it is served."""
    mode: Mode
    rows: str
    """Hash of the questions."""
    questions: int
    profile: str
    template: str
    """Hash of the chat template that the server was started with, or ``served``: whatever it had."""
    options: dict[str, Any]
    """Overview, tool, limits, lengths, sampling, reward; defaults spelled out."""
    weights: str | None = None
    """Hash of the checkpoint's files, where its folder was named: one name may serve another checkpoint later."""


class EvaluationRecord(Record):
    """One question, as it went."""

    version: Literal[1] = 1
    id: str
    data_source: str
    question: str
    ground_truth: Any
    segments: tuple[Span, ...]
    transcript: Transcript
    reward: RewardRecord
    entropy: TokenEntropy | None = None
    """Where ``sampling`` asks for ``logprobs``."""


class Result:
    """A result that is being written."""

    def __init__(self, file: BinaryIO, records: dict[str, EvaluationRecord]):
        self._file = file
        self.records = records
        """Last record of each question, by id."""

    def add(self, record: EvaluationRecord) -> None:
        self._file.write(record.model_dump_json().encode() + b"\n")
        self._file.flush()
        self.records[record.id] = record


@contextmanager
def open_result(folder: str | os.PathLike[str], header: Header) -> Iterator[Result]:
    """Begin a result, or go on with the one that lies there.

    Raises:
        ConfigError: another evaluation lies there, or another process writes it.
        DataError: what lies there is damaged other than at its end.
    """
    folder = Path(folder)
    with _open(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(str(folder), "is being written by another evaluation", "Wait for it.") from error
        if (folder / HEADER).exists():
            if unlike := differences(read_header(folder), header):
                rule = f"holds another evaluation: {'; '.join(unlike)}"
                raise ConfigError(str(folder), rule, "Choose another folder, or ask as before.")
        elif file.seek(0, os.SEEK_END):
            raise ConfigError(str(folder), f"has {RECORDS} and no {HEADER}", "Choose another folder.")
        else:
            scratch = folder / f"{HEADER}.tmp"
            scratch.write_text(header.model_dump_json(indent=2) + "\n", encoding="utf-8")
            os.replace(scratch, folder / HEADER)
        records, whole = _records(folder)
        file.truncate(whole)
        yield Result(file, records)


def read_header(folder: str | os.PathLike[str]) -> Header:
    """Raises:
    DataError: there is none, or it is of another version.
    """
    path = Path(folder, HEADER)
    try:
        return Header.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            str(path), f"is no header of an evaluation ({error})", "Name a folder of 'longvt evaluate'."
        ) from error


def read_result(folder: str | os.PathLike[str]) -> tuple[Header, dict[str, EvaluationRecord]]:
    """Header, and the last record of each question by id; a torn last line is left out.

    Raises:
        DataError: it is none, or damaged other than at its end.
    """
    return read_header(folder), _records(Path(folder))[0]


def differences(a: Header, b: Header) -> list[str]:
    """``field: this, not that`` for all in which two headers differ, but for ``NO_MATTER``.

    Weights are compared where both are known, and of models of one name.
    """
    left, right = _compared(a), _compared(b)
    if a.model != b.model or None in (a.weights, b.weights):
        del left["weights"], right["weights"]
    keys = [*left, *(right.keys() - left.keys())]
    return [
        f"{key}: {json.dumps(left.get(key))}, not {json.dumps(right.get(key))}"
        for key in keys
        if left.get(key) != right.get(key)
    ]


def judges_of(records: Iterable[EvaluationRecord]) -> set[str]:
    """Ids of the judges that decided an answer."""
    return {record.reward.judge_id for record in records if record.reward.decided_by == "judge"}


def _compared(header: Header) -> dict[str, Any]:
    fields = header.model_dump(mode="json")
    options = fields.pop("options")
    reward = options.get("reward") or {}
    if judge := reward.get("judge"):
        told = {key: value for key, value in judge.items() if key not in NO_MATTER}
        options = {**options, "reward": {**reward, "judge": told}}
    return fields | {f"options.{key}": value for key, value in options.items()}


def _open(folder: Path) -> BinaryIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / RECORDS, "a+b")
    except OSError as error:
        raise ConfigError(str(folder), f"cannot be written ({error.strerror})", "Choose another folder.") from error


def _records(folder: Path) -> tuple[dict[str, EvaluationRecord], int]:
    """Records, and the bytes of the whole lines."""
    path = folder / RECORDS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            str(path), f"cannot be read ({error.strerror})", "Name a folder of 'longvt evaluate'."
        ) from error
    whole = content.rfind(b"\n") + 1
    records = {}
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            record = EvaluationRecord.model_validate_json(line)
        except ValidationError as error:
            rule = f"is no record of an evaluation ({str(error).splitlines()[0]})"
            raise DataError(f"{path}, line {number}", rule, "Remove the line: its question is asked again.") from error
        records[record.id] = record
    return records, whole
