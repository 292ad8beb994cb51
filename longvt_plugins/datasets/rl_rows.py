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
from .problems import CONTROL, Problem

AGENT = "longvt_agent"
ROLES = ("system", "user", "assistant")
MARKS = {"<video>": "videos", "<image>": "images"}


def media_urls(row: Mapping[str, Any], column: str) -> list[str]:
    """Paths in ``videos`` or ``images`` as they are written, in order.

    Raises:
        DataError: an entry is neither a path nor a struct with one.
    """
    kind = column.removesuffix("s")
    urls = []
    for index, entry in enumerate(row.get(column) or ()):
        url = entry
        if isinstance(entry, Mapping):
            url = next((entry[key] for key in (kind, "path", "url") if entry.get(key)), None)
        if not isinstance(url, str):
            raise DataError(f"{column}[{index}]: {entry!r}"[:80], "holds no path", "Write the path of the file.")
        urls.append(url)
    return urls


def extra_info(row: Mapping[str, Any]) -> dict[str, Any]:
    """``extra_info`` without nulls, with LongVT's ``video_segment`` among ``segments`` and its dummies for the tool
    removed."""
    info = without_nulls(row.get("extra_info") or {})
    segment = info.pop("video_segment", None)
    if segment is not None and not info.get("segments"):
        info["segments"] = [list(segment)] if len(segment) else []
    info.pop("tools_kwargs", None)
    return info


def read_row(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A row in one shape: the same keys for every row of every file, paths as text, nothing null inside.

    Args:
        number: of the row; its ``index`` where it has none of its own. Kept as ``longvt_row``.

    Raises:
        DataError: a medium without a path.
    """
    info = extra_info(row)
    info.setdefault("index", number)
    return {
        **row,
        "agent_name": row.get("agent_name") or AGENT,
        "data_source": row.get("data_source"),
        "prompt": [{"role": m["role"], "content": m["content"]} for m in row["prompt"]],
        "videos": media_urls(row, "videos"),
        "images": media_urls(row, "images"),
        "ability": row.get("ability"),
        "reward_model": without_nulls(row.get("reward_model") or {}),
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
    answer = (row.get("reward_model") or {}).get("ground_truth")
    if answer is None or answer == "":
        yield Problem(
            "reward_model.ground_truth", f"{answer!r}", "no answer can be right", "Write it, or drop the row."
        )
    info = extra_info(row)
    segments = info.get("segments") or []
    for index, segment in enumerate(segments):
        numbers = [value for value in segment if isinstance(value, int | float)] if isinstance(segment, list) else []
        if len(numbers) != 2 or not 0 <= numbers[0] < numbers[1]:
            yield Problem(
                f"extra_info.segments[{index}]",
                f"{segment}",
                "must satisfy 0 <= start < end, in seconds",
                "Correct it.",
            )
    selection = info.get("tool_selection")
    if selection is not None and not (isinstance(selection, list) and all(isinstance(n, str) for n in selection)):
        yield Problem("extra_info.tool_selection", f"{selection!r}", "must be a list of tool names", "Correct it.")
    for column in MARKS.values():
        yield from _media_problems(row, column, root, files, segments)


def _prompt_problems(row: Mapping[str, Any]) -> Iterator[Problem]:
    prompt = row.get("prompt")
    if not isinstance(prompt, list) or not prompt:
        yield Problem("prompt", f"{prompt!r}"[:80], "must be a list of messages", "Write the question.")
        return
    counts = dict.fromkeys(MARKS, 0)
    for index, message in enumerate(prompt):
        column = f"prompt[{index}]"
        role, content = (message.get(key) for key in ("role", "content"))
        if role not in ROLES or (role == "system" and index):
            yield Problem(f"{column}.role", f"{role!r}", "must be user, or system for the first", "Rename it.")
        if not isinstance(content, str) or not content.strip():
            yield Problem(f"{column}.content", f"{content!r}"[:80], "must be text", "Write it, or drop the message.")
            continue
        if found := CONTROL.search(content):
            yield Problem(f"{column}.content", found.group(), "a control token in text", "Remove it.")
        for mark in MARKS:
            counts[mark] += content.count(mark)
    if prompt[-1].get("role") != "user":
        yield Problem("prompt", f"{prompt[-1].get('role')!r}", "must end with the user's turn", "Cut what follows it.")
    for mark, column in MARKS.items():
        media = len(row.get(column) or ())
        if counts[mark] != media:
            yield Problem(
                column, f"{media} {column}", f"{counts[mark]} {mark} marks in the prompt", "Put one mark per medium."
            )


def _media_problems(row, column: str, root: str, files: bool, segments: list) -> Iterator[Problem]:
    try:
        urls = media_urls(row, column)
    except DataError as error:
        yield Problem(column, error.value, error.rule, error.remedy)
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
        for segment in segments if len(urls) == 1 else ():
            if len(segment) == 2 and isinstance(segment[1], int | float) and segment[1] > duration_s + END_TOLERANCE_S:
                yield Problem(
                    "extra_info.segments",
                    f"{segment}",
                    f"{url} ends at {duration_s:.2f} s, before its segment",
                    "Fix the segment, or fetch the whole video.",
                )
