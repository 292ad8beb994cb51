"""Question answering on videos and pictures: VideoSIAH-Eval, Video-R1, LongVideo-Reason.

Video-R1 and LongVideo-Reason wrap answers in ``<answer>``; options stand in a list (Video-R1) or as lines ``A. ...`` of
the question (LongVideo-Reason). The answer of a choice is its letter, and the options are kept so that the reward
knows an answer outside them to be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from longvt_plugins.datasets.schema import Message, RLRow
from longvt_plugins.errors import DataError

from . import Options

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_OPTION = re.compile(r"^\(?([A-Z])[.):]\s*(.+)$", re.MULTILINE)
_UNSCORABLE = {"regression": "a number within a tolerance is not scored by exact rules"}


def convert(record: Mapping[str, Any], number: int, options: Options) -> RLRow:
    question = str(record.get("problem") or record.get("question") or "").strip()
    kind = str(record.get("problem_type") or "")
    if kind in _UNSCORABLE:
        raise DataError(f"problem_type {kind}", _UNSCORABLE[kind], "Add a reward for it, or leave it out.")
    answer = str(record.get("solution") or record.get("answer") or "").strip()
    found = _ANSWER.search(answer)
    answer = (found.group(1) if found else answer).strip()
    if not question or not answer:
        raise DataError(f"question {question[:40]!r}, answer {answer[:40]!r}", "one of them is empty", "Complete it.")
    choices = record.get("options") or []
    if not isinstance(choices, list):
        raise DataError(f"options {choices!r}"[:80], "must be a list", "Write one entry per option.")
    choices = [str(option).strip() for option in choices]
    if choices:
        question += "\n" + "\n".join(choices)
    choices = _lettered("\n".join(choices) or question)
    path = _path(record)
    media = "images" if record.get("data_type") == "image" else "videos"
    return RLRow(
        data_source=options.data_source or str(record.get("data_source") or "question"),
        prompt=[
            Message(role="system", content=options.system),
            Message(role="user", content=f"<{media[:-1]}>\n{question}"),
        ],
        question=question,
        ground_truth=answer,
        index=number,
        split=options.split,
        options=choices,
        **{media: [path]},
    )


def _lettered(text: str) -> list[str]:
    """The last lines lettered A, B, C ... in sequence: ``Q: ...`` is none, and a dialogue may stand before them."""
    found: list[str] = []
    for letter, option in _OPTION.findall(text):
        if letter == "A":
            found = []
        if ord(letter) - ord("A") == len(found):
            found.append(option.strip())
    return found if len(found) > 1 else []


def _path(record: Mapping[str, Any]) -> str:
    for key in ("path", "videos", "video_path", "video"):
        value = record.get(key)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, str) and value.strip():
            return value.strip().removeprefix("./")
    raise DataError("no path of a video or picture", "one medium per question is needed", "Complete the record.")
