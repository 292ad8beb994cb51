"""RL rows as questions: the prompt that verl's rollout has of the same row, frames by reference."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from longvt_plugins.datasets.paths import local_path
from longvt_plugins.datasets.rl_rows import problems_of_rl, read_row
from longvt_plugins.datasets.tables import rows_of
from longvt_plugins.errors import DataError
from longvt_plugins.tokens.profiles import MediaProfile
from longvt_plugins.types import MediaRef
from longvt_plugins.video import SamplingPolicy, plan_overview, probe

TOOL = "crop_video"


@dataclass(frozen=True)
class Question:
    id: str
    """Number of the row in its file."""
    row: dict[str, Any]
    """As ``read_row`` gives it."""
    videos: tuple[str, ...]
    """Absolute paths."""

    @property
    def may_crop(self) -> bool:
        selection = self.row["extra_info"].get("tool_selection")
        return not selection or TOOL in selection

    def messages(self, profile: MediaProfile, overview: SamplingPolicy) -> list[dict[str, Any]]:
        """The prompt.

        Raises:
            VideoError: a video cannot be opened.
        """
        if not self.videos:
            return [dict(message) for message in self.row["prompt"]]

        def frames_of(path: str) -> MediaRef:
            info = probe(path)
            plan = plan_overview(info, overview)
            return info.frames(plan.times_s, plan.size)

        paths = iter(self.videos)
        return [
            {"role": message["role"], "content": profile.prompt_content(_items(message["content"], paths), frames_of)}
            for message in self.row["prompt"]
        ]


def _items(text: str, paths: Iterator[str]) -> Iterator[dict[str, Any]]:
    for part in re.split("(<video>)", text):
        if part == "<video>":
            yield {"type": "video", "video": next(paths)}
        elif part:
            yield {"type": "text", "text": part}


def read_questions(path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> list[Question]:
    """Questions of a parquet file, in order.

    Args:
        root: below which its videos lie; ``None``: beside the file.

    Raises:
        DataError: rows that break the schema, or show pictures, which only verl's rollout can.
    """
    root = os.path.dirname(os.path.abspath(path)) if root is None else root
    questions = []
    for number, raw in enumerate(rows_of(path)):
        problem = next(problems_of_rl(raw, str(root), files=False), None)
        if problem is not None:
            raise DataError(f"{path}, row {number}", str(problem), "'longvt check-data' lists every such row.")
        row = read_row(raw, number)
        if row["images"]:
            raise DataError(f"{path}, row {number}", "shows pictures, the evaluator knows videos", "Leave it out.")
        videos = tuple(local_path(url, root) for url in row["videos"])
        questions.append(Question(str(number), row, videos))
    return questions


def hash_of(questions: Sequence[Question]) -> str:
    """blake2b of what the rows say. Not of the videos' bytes: encoding again does not give the same."""
    rows = json.dumps([question.row for question in questions], sort_keys=True, ensure_ascii=False)
    return blake2b(rows.encode(), digest_size=16).hexdigest()
