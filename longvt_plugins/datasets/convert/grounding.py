"""Finding the moment that a sentence tells of: Time-R1's annotations and Charades-STA.

The answer is the window itself. It is also the ground-truth segment, so a crop there earns the grounding part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longvt_plugins.datasets.schema import Message, RLRow
from longvt_plugins.errors import DataError

from . import Options

QUESTION = (
    'When in the video does this happen: "{sentence}"? Answer with the start and end in seconds, as "start - end".'
)


def convert(record: Mapping[str, Any], number: int, options: Options) -> RLRow:
    sentence = str(record["sentence"]).strip().rstrip(".")
    start_s, end_s = _window(record["timestamp"])
    duration_s = record.get("duration")
    if not 0 <= start_s < end_s:
        raise DataError(f"[{start_s}, {end_s}]", "a window must satisfy 0 <= start < end", "Correct the annotation.")
    if duration_s is not None and end_s > float(duration_s):
        if start_s >= float(duration_s):
            raise DataError(
                f"[{start_s}, {end_s}] of {duration_s} s", "the window lies behind the video", "Correct it."
            )
        # Annotators of these sets round up.
        end_s = float(duration_s)
    if not sentence:
        raise DataError("sentence", "is empty", "Complete the record.")
    question = QUESTION.format(sentence=sentence)
    return RLRow(
        data_source=options.data_source or "grounding",
        prompt=[
            Message(role="system", content=options.system),
            Message(role="user", content=f"<video>\n{question}"),
        ],
        videos=[str(record["video"])],
        question=question,
        ground_truth=f"{start_s:g} - {end_s:g}",
        index=number,
        split=options.split,
        segments=[(start_s, end_s)],
    )


def _window(timestamp: Any) -> tuple[float, float]:
    try:
        start, end = timestamp
        return float(start), float(end)
    except (TypeError, ValueError) as error:
        raise DataError(f"timestamp {timestamp!r}"[:80], "must be two numbers of seconds", "Correct it.") from error
