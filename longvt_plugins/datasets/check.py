"""A file of rows -> everything that is wrong with it: row, column, remedy. RL rows and SFT chains, ours and published.

A row is read as the datasets read it, so what passes here loads there. Media are probed from their headers, each
file once; no pixel is decoded.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longvt_plugins.errors import DataError

from .chains import read_messages, read_tools
from .media import MediaOptions, plan_media
from .problems import CONTROL, Problem, problems_of, text_of
from .rl_rows import media_count, media_urls, problems_of_rl
from .tables import open_parquet, rows_of

Kind = Literal["rl", "sft"]
NAME_COLUMN = {"sft": "id", "rl": "extra_info.index"}


@dataclass(frozen=True)
class Finding:
    row: int
    id: str
    problem: Problem

    def __str__(self) -> str:
        return f"row {self.row} ({self.id}), {self.problem}"


@dataclass
class Report:
    """What ``check_file`` found."""

    path: str
    kind: Kind
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    media: Counter = field(default_factory=Counter)
    """How often each kind of medium stands in the rows."""
    samples: list[str] = field(default_factory=list)

    @property
    def bad_rows(self) -> int:
        return len({finding.row for finding in self.findings})


def kind_of(columns: list[str]) -> Kind:
    """Which rows these are.

    Raises:
        DataError: the columns are neither, with those that are missing.
    """
    if "messages" in columns:
        return "sft"
    if "prompt" in columns:
        missing = sorted({"data_source", "prompt", "reward_model"} - set(columns))
        if not missing:
            return "rl"
        raise DataError(
            f"columns {sorted(columns)}", f"an RL file also needs {', '.join(missing)}", "Convert it: longvt data."
        )
    raise DataError(
        f"columns {sorted(columns)}",
        "neither an SFT file (messages) nor an RL file (prompt, data_source, reward_model)",
        "Convert it: longvt data convert NAME (longvt data list tells the names).",
    )


def check_file(path: str | os.PathLike[str], root: str = "", files: bool = True, samples: int = 3) -> Report:
    """Check every row.

    Args:
        root: below which the media lie.
        files: look at the media too.
        samples: how many rows to describe, evenly over the file.

    Raises:
        DataError: the file as a whole cannot be read, or holds other rows.
    """
    parquet = open_parquet(path)
    report = Report(os.fspath(path), kind_of(parquet.schema_arrow.names))
    wanted = {round(i * (parquet.metadata.num_rows - 1) / max(1, samples - 1)) for i in range(samples)}
    check = _check_sft if report.kind == "sft" else _check_rl
    seen: dict[str, int] = {}
    for number, row in enumerate(rows_of(path)):
        name = _name(report.kind, row)
        problems = [*_guarded(check(row, root, files, report.media))]
        if name in seen:
            value, rule = name, f"is also that of row {seen[name]}"
            problems.append(Problem(NAME_COLUMN[report.kind], value, rule, "Give each row its own."))
        elif name is None and "id" in row:
            problems.append(Problem("id", "null", "is missing", "Give each row its own."))
        elif name is not None:
            seen[name] = number
        report.findings += [Finding(number, name or "no id", problem) for problem in problems]
        if number in wanted:
            report.samples.append(f"row {number} ({name or 'no id'}): {_describe(report.kind, row)}")
        report.rows += 1
    return report


def _name(kind: Kind, row: Mapping[str, Any]) -> str | None:
    info = row.get("extra_info")
    value = row.get("id") if kind == "sft" else info.get("index") if isinstance(info, Mapping) else None
    return None if value is None or value == "" else str(value)


def _guarded(problems: Iterator[Problem]) -> Iterator[Problem]:
    try:
        yield from problems
    except Exception as error:  # a bad row is data: whatever is in it, the rows after it are checked
        yield Problem("row", f"{error}"[:80], f"cannot be read ({type(error).__name__})", "Correct it, or drop it.")


def _check_sft(row: Mapping[str, Any], root: str, files: bool, media: Counter) -> Iterator[Problem]:
    try:
        messages = read_messages(row)
    except DataError as error:
        yield Problem.of(error)
        return
    try:
        tools = read_tools(row)
        if found := CONTROL.search(str(tools)):
            yield Problem("tools", found.group(), "a control token in text", "Remove it.")
    except DataError as error:
        yield Problem.of(error)
    problems = [*problems_of(messages)]
    yield from problems
    media.update(item["type"] for message in messages for item in message["content"] if item["type"] != "text")
    if not files or problems:
        return
    for number, message in enumerate(messages):
        for position, item in enumerate(message["content"]):
            if item["type"] == "text":
                continue
            try:
                plan_media([{"role": message["role"], "content": [item]}], root, MediaOptions())
            except DataError as error:
                value = error.value.partition(": ")[2]
                yield Problem(f"messages[{number}].content[{position}]", value, error.rule, error.remedy)


def _check_rl(row: Mapping[str, Any], root: str, files: bool, media: Counter) -> Iterator[Problem]:
    yield from problems_of_rl(row, root, files)
    media.update({column: media_count(row, column) for column in ("videos", "images")})


def _describe(kind: Kind, row: Mapping[str, Any]) -> str:
    try:
        if kind == "rl":
            asked = next((m["content"] for m in reversed(row["prompt"]) if m["role"] == "user"), "")
            answer = row["reward_model"]["ground_truth"]
            return f"{media_urls(row, 'videos') + media_urls(row, 'images')} {_short(asked)} -> {_short(answer)}"
        messages = read_messages(row)
        turns = " ".join(message["role"][0] for message in messages)
        said = next((text_of(message) for message in messages if message["role"] == "assistant"), "")
        return f"turns {turns}; first says {_short(said)}"
    except Exception as error:  # a bad row is described by what is wrong with it
        return f"cannot be read ({type(error).__name__})"


def _short(text: str) -> str:
    text = " ".join(str(text).split())
    return repr(text if len(text) <= 100 else text[:97] + "...")
