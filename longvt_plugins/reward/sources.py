"""Which ``data_source`` is judged how. The names are those of LongVT's datasets and reward options.

Four of its sources call functions that do not exist there (thinklite_eureka, xince, videor1,
longvideo-reason-think); here they work. A source that is not listed is an open question: rules first, then
the judge. ``README.md`` in this folder lists every difference from the original with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["answer", "exact", "math", "interval"]
"""``answer``: rules, then the judge. ``exact``: rules alone. ``math``: math-verify, then the judge.
``interval``: the answer is a time window, scored by overlap."""


@dataclass(frozen=True)
class Source:
    task: Task
    score_is_acc: bool = False
    """Validation data: ``score`` is the answer's alone."""


SOURCES: dict[str, Source] = {
    "longvt": Source("answer"),
    "longvt-val": Source("answer", score_is_acc=True),
    **dict.fromkeys(("vstar", "vl_agent", "chart", "longvideo-reason", "hacs", "ego4d_naq"), Source("answer")),
    **dict.fromkeys(("videor1", "longvideo-reason-think"), Source("answer")),
    **dict.fromkeys(("thinklite_eureka", "xince"), Source("math")),
    # Those with "_", and "grounding", are what `longvt data convert` writes.
    **dict.fromkeys(("time-r1", "time_r1", "charades-sta", "charades_sta", "grounding"), Source("interval")),
}
PREFIXES: dict[str, Source] = {"TimeR1": Source("interval"), "TVG-R1": Source("interval")}
UNLISTED = Source("answer")

ORIGINAL = {
    "answer": 1.0,
    "grounding": 1.0,
    "format": 1.0,
    "ungrounded": {"answer": 0.8, "format": 0.2},
    "spans": "last",
    "think": "required",
}
"""The profile ``parity``: LongVT's weights and its rule that the last crop counts."""

_WITHOUT_GROUNDING = {**ORIGINAL, "grounding": 0.0, "ungrounded": None}
ORIGINAL_OPTIONS: dict[str, dict[str, Any]] = {
    # In the order in which the original looks at them.
    "tool_use_reward": {**_WITHOUT_GROUNDING, "tool": 1.0},
    "use_time_reward": {**ORIGINAL, "measure": "recall"},
    "use_iou_reward": ORIGINAL,
    "use_new_reward": _WITHOUT_GROUNDING,
}


def source_of(data_source: str) -> Source:
    """The entry for ``data_source``; ``UNLISTED`` for a name that is not in the table."""
    if data_source in SOURCES:
        return SOURCES[data_source]
    return next((source for prefix, source in PREFIXES.items() if data_source.startswith(prefix)), UNLISTED)


def from_original(options: dict[str, bool]) -> dict[str, Any]:
    """Fields of ``RewardConfig`` for the original's options; none set means .8 answer and .2 format."""
    chosen = next((fields for name, fields in ORIGINAL_OPTIONS.items() if options.get(name)), None)
    return dict(chosen or {**_WITHOUT_GROUNDING, "answer": 0.8, "format": 0.2})
