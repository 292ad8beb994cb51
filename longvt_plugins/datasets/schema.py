"""RL rows: the one description that writers and readers share.

Explicit, because parquet structs inferred from rows drift between files. ``segments`` are the
ground-truth windows in seconds; a row without any has no grounding reward. ``videos`` are paths,
absolute or relative to ``data.longvt.video_root``; each ``<video>`` in the prompt stands for one.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longvt_plugins.types import Span

VERSION = 1

RL_SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("videos", pa.list_(pa.string())),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("index", pa.int64()),
                    ("split", pa.string()),
                    ("question", pa.string()),
                    ("options", pa.list_(pa.string())),
                    ("segments", pa.list_(pa.list_(pa.float64(), 2))),
                ]
            ),
        ),
    ],
    metadata={"longvt_rl_version": str(VERSION)},
)


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: str
    content: str


class RLRow(BaseModel):
    """One RL row, as a writer builds it."""

    model_config = ConfigDict(extra="forbid")

    data_source: str
    prompt: list[Message]
    videos: list[str]
    question: str
    ground_truth: str
    index: int
    split: str = "train"
    options: list[str] = Field(default_factory=list)
    """The possible answers, when they are few and known: an answer outside them is then wrong for certain."""
    segments: list[Span] = Field(default_factory=list)

    @model_validator(mode="after")
    def _placeholders_match_videos(self) -> RLRow:
        placeholders = sum(message.content.count("<video>") for message in self.prompt)
        if placeholders != len(self.videos):
            raise ValueError(f"{placeholders} <video> placeholders for {len(self.videos)} videos: make them equal")
        for start_s, end_s in self.segments:
            if not 0 <= start_s < end_s:
                raise ValueError(f"segment [{start_s}, {end_s}] must satisfy 0 <= start < end, in seconds")
        return self

    def to_parquet_row(self) -> dict[str, Any]:
        return {
            "data_source": self.data_source,
            "prompt": [message.model_dump() for message in self.prompt],
            "videos": self.videos,
            "ability": "video",
            "reward_model": {"style": "rule", "ground_truth": self.ground_truth},
            "extra_info": {
                "index": self.index,
                "split": self.split,
                "question": self.question,
                "options": self.options,
                "segments": [list(segment) for segment in self.segments],
            },
        }


def write_rl_rows(rows: list[RLRow], path: str) -> None:
    """Write ``rows`` as parquet with ``RL_SCHEMA``."""
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([row.to_parquet_row() for row in rows], schema=RL_SCHEMA), path)
