"""RL rows of our schema and LongVT's published ones, read alike; and what is wrong with one.

LongVT's differ in three things: a video is a struct with a ``file://`` path of another machine, the ground-truth window
is ``extra_info.video_segment``, and the tool is given a dummy instead of the row's videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from longvt_plugins.errors import DataError, LongVTError
from longvt_plugins.video import probe

from .chains import without_nulls
from .media import END_TOLERANCE_S, PICTURE_PIXELS, plan_picture
from .paths import local_path
from .problems import CONTROL, Problem, numbers

AGENT = "longvt_agent"
ROLES = ("system", "user", "assistant")
MARKS = {"<video>": "videos", "<image>": "images"}


def media_urls(row: Mapping[str, Any], column: str) -> list[str]:
    """Paths in ``videos`` or ``images`` as they are written, in order.

    Raises:
        DataError: no list, or an entry is neither a path nor a struct with one.
    """
    kind, entries = column.removesuffix("s"), row.get(column)
    if entries is not None and not isinstance(entries, list):
        raise DataError(f"{column}: {entries!r}"[:80], "must be a list of paths", "Put the path into a list.")
    urls = []
    for index, entry in enumerate(entries or ()):
        url = entry
        if isinstance(entry, Mapping):
            url = next((entry[key] for key in (kind, "path", "url") if entry.get(key)), None)
        if not isinstance(url, str):
            raise DataError(f"{column}[{index}]: {entry!r}"[:80], "holds no path", "Write the path of the file.")
        urls.append(url)
    return urls


def media_count(row: Mapping[str, Any], column: str) -> int:
    """How many media stand in ``column``; none where it is no list."""
    entries = row.get(column)
    return len(entries) if isinstance(entries, list) else 0


def struct(row: Mapping[str, Any], column: str) -> dict[str, Any]:
    """A struct of a row without nulls, ``{}`` if it has none.

    Raises:
        DataError: the column holds something else.
    """
    value = row.get(column)
    if value is not None and not isinstance(value, Mapping):
        raise DataError(f"{column}: {value!r}"[:80], "must be a struct", "Write its fields, not text.")
    return without_nulls(value or {})


def extra_info(row: Mapping[str, Any]) -> dict[str, Any]:
    """``extra_info`` without nulls, with LongVT's ``video_segment`` among ``segments`` and its dummies for the tool
    removed.

    Raises:
        DataError: it is no struct, or the segment no list.
    """
    info = struct(row, "extra_info")
    segment = info.pop("video_segment", None)
    if segment is not None and not isinstance(segment, list):
        value = f"extra_info.video_segment: {segment!r}"[:80]
        raise DataError(value, "must be [start, end], in seconds", "Correct it.")
    if segment is not None and not info.get("segments"):
        info["segments"] = [list(segment)] if len(segment) else []
    info.pop("tools_kwargs", None)
    return info


def prompt_of(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Messages of the prompt, each a role and a text.

    Raises:
        DataError: the first that is none.
    """
    prompt = row.get("prompt")
    for problem in _shape_problems(prompt):
        raise problem.error
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def read_row(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A row in one shape: the same keys for every row of every file, paths as text, nothing null inside.

    Args:
        number: of the row; its ``index`` where it has none of its own. Kept as ``longvt_row``.

    Raises:
        DataError: a column of another shape, or a medium without a path.
    """
    info = extra_info(row)
    info.setdefault("index", number)
    return {
        **row,
        "agent_name": row.get("agent_name") or AGENT,
        "data_source": row.get("data_source"),
        "prompt": prompt_of(row),
        "videos": media_urls(row, "videos"),
        "images": media_urls(row, "images"),
        "ability": row.get("ability"),
        "reward_model": struct(row, "reward_model"),
        "extra_info": info,
        "longvt_row": number,
    }


def problems_of_rl(row: Mapping[str, Any], root: str = "", files: bool = True) -> Iterator[Problem]:
    """Everything that is wrong with an RL row.

    Args:
        root: below which its media lie.
        files: look at the media themselves.
    """
    if not isinstance(row.get("data_source"), str) or not row["data_source"]:
        yield Problem("data_source", f"{row.get('data_source')!r}", "must be a name", "It chooses the reward: name it.")
    yield from _prompt_problems(row)
    yield from _answer_problems(row)
    info: dict[str, Any] = {}
    try:
        info = extra_info(row)
    except DataError as error:
        yield Problem.of(error)
    segments = info.get("segments") or []
    if not isinstance(segments, list):
        yield Problem("extra_info.segments", f"{segments!r}"[:80], "must be a list of [start, end]", "Correct it.")
        segments = []
    for index, segment in enumerate(segments):
        if not _is_window(segment):
            yield Problem(
                f"extra_info.segments[{index}]",
                f"{segment}",
                "must satisfy 0 <= start < end, in seconds",
                "Correct it.",
            )
    selection = info.get("tool_selection")
    if selection is not None and not (isinstance(selection, list) and all(isinstance(n, str) for n in selection)):
        yield Problem("extra_info.tool_selection", f"{selection!r}", "must be a list of tool names", "Correct it.")
    windows = [segment for segment in segments if _is_window(segment)]
    for column in MARKS.values():
        yield from _media_problems(row, column, root, files, windows)


def _shape_problems(prompt: Any) -> Iterator[Problem]:
    if not isinstance(prompt, list) or not prompt:
        yield Problem("prompt", f"{prompt!r}"[:80], "must be a list of messages", "Write the question.")
        return
    for index, message in enumerate(prompt):
        column = f"prompt[{index}]"
        if not isinstance(message, Mapping) or "role" not in message:
            yield Problem(column, f"{message!r}"[:80], "must be a message with role and content", "Correct the row.")
        elif not isinstance(message.get("content"), str):
            value = f"{message.get('content')!r}"[:80]
            yield Problem(f"{column}.content", value, "must be text", "Write it, or drop the message.")


def _prompt_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    prompt = row.get("prompt")
    if shape := [*_shape_problems(prompt)]:
        yield from shape
        return
    counts = dict.fromkeys(MARKS, 0)
    for index, message in enumerate(prompt):
        column, role, content = f"prompt[{index}]", message["role"], message["content"]
        if role not in ROLES or (role == "system" and index):
            yield Problem(f"{column}.role", f"{role!r}", "must be user, or system for the first", "Rename it.")
        if not content.strip():
            yield Problem(f"{column}.content", f"{content!r}"[:80], "is empty", "Write it, or drop the message.")
        if found := CONTROL.search(content):
            yield Problem(f"{column}.content", found.group(), "a control token in text", "Remove it.")
        for mark in MARKS:
            counts[mark] += content.count(mark)
    if prompt[-1]["role"] != "user":
        yield Problem("prompt", f"{prompt[-1]['role']!r}", "must end with the user's turn", "Cut what follows it.")
    for mark, column in MARKS.items():
        media = media_count(row, column)
        if counts[mark] != media:
            yield Problem(
                column, f"{media} {column}", f"{counts[mark]} {mark} marks in the prompt", "Put one mark per medium."
            )


def _answer_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        answer = struct(row, "reward_model").get("ground_truth")
    except DataError as error:
        yield Problem.of(error)
        return
    if answer is None or answer == "":
        yield Problem(
            "reward_model.ground_truth", f"{answer!r}", "no answer can be right", "Write it, or drop the row."
        )


def _is_window(segment: Any) -> bool:
    return isinstance(segment, list) and len(segment) == 2 and numbers(segment) and 0 <= segment[0] < segment[1]


def _media_problems(row, column: str, root: str, files: bool, windows: list) -> Iterator[Problem]:
    try:
        urls = media_urls(row, column)
    except DataError as error:
        yield Problem.of(error)
        return
    for index, url in enumerate(urls):
        try:
            path = local_path(url, root)
            if not files:
                continue
            if column == "images":
                plan_picture(path, 28, (0, PICTURE_PIXELS))
                continue
            duration_s = probe(path).duration_s
        except LongVTError as error:
            yield Problem(f"{column}[{index}]", error.value, error.rule, error.remedy)
            continue
        for window in windows if len(urls) == 1 else ():
            if window[1] > duration_s + END_TOLERANCE_S:
                yield Problem(
                    "extra_info.segments",
                    f"{window}",
                    f"{url} ends at {duration_s:.2f} s, before its segment",
                    "Fix the segment, or fetch the whole video.",
                )
