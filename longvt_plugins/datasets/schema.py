"""Rows on disk: the one description that writers and readers share. Parquet, with explicit schemas.

* RL rows (``RLRow``): a prompt with one ``<video>`` or ``<image>`` per medium, an answer, ground-truth windows.
* SFT chains (``Chain``): whole conversations. ``messages`` is a JSON string, because parquet structs inferred from
  conversations drift between files and fill each other's missing keys with nulls.
* RFT traces: SFT chains whose ``origin`` says which rollout they are and what it was rewarded with.

Paths are absolute, relative to a root that the reader is given, or ``file://`` URLs (``paths.py``). Times are seconds.
Published LongVT files have other shapes; ``chains.py`` and ``verl_rl.py`` read them unchanged.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longvt_plugins.types import Span

VERSION = 2
SFT_VERSION = 1
NO_TOOLS = "none"
"""verl takes an empty ``tool_selection`` for all tools; a name that no tool has leaves none."""

RL_SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("agent_name", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("videos", pa.list_(pa.string())),
        ("images", pa.list_(pa.string())),
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
                    ("tool_selection", pa.list_(pa.string())),
                ]
            ),
        ),
    ],
    metadata={"longvt_rl_version": str(VERSION)},
)

SFT_SCHEMA = pa.schema(
    [("id", pa.string()), ("messages", pa.string()), ("tools", pa.string()), ("origin", pa.string())],
    metadata={"longvt_sft_version": str(SFT_VERSION)},
)


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(Closed):
    role: str
    content: str


class RLRow(Closed):
    """One RL row, as a writer builds it."""

    data_source: str
    prompt: list[Message]
    videos: list[str] = Field(default_factory=list)
    images: list[str] = Field(default_factory=list)
    question: str
    ground_truth: str
    index: int
    split: str = "train"
    options: list[str] = Field(default_factory=list)
    """The possible answers, when they are few and known: an answer outside them is then wrong for certain."""
    segments: list[Span] = Field(default_factory=list)
    """Ground-truth windows, of the first video; a row without any has no grounding reward."""
    tools: list[str] | None = None
    """Names of the tools this row may call. ``None``: all of the recipe. Empty: none."""
    agent_name: str | None = None
    """The agent loop for this row. ``None``: the recipe's; in a dataset that names loops, ``longvt_agent``."""

    @model_validator(mode="after")
    def _check(self) -> RLRow:
        for mark, media in (("<video>", self.videos), ("<image>", self.images)):
            placeholders = sum(message.content.count(mark) for message in self.prompt)
            if placeholders != len(media):
                raise ValueError(f"{placeholders} {mark} placeholders for {len(media)} {mark[1:-1]}s: make them equal")
        for start_s, end_s in self.segments:
            if not 0 <= start_s < end_s < math.inf:
                raise ValueError(f"segment [{start_s}, {end_s}] must satisfy 0 <= start < end, in seconds")
        return self

    def to_parquet_row(self) -> dict[str, Any]:
        return {
            "data_source": self.data_source,
            "agent_name": self.agent_name,
            "prompt": [message.model_dump() for message in self.prompt],
            "videos": self.videos,
            "images": self.images,
            "ability": "video",
            "reward_model": {"style": "rule", "ground_truth": self.ground_truth},
            "extra_info": {
                "index": self.index,
                "split": self.split,
                "question": self.question,
                "options": self.options,
                "segments": [list(segment) for segment in self.segments],
                "tool_selection": [NO_TOOLS] if self.tools == [] else self.tools,
            },
        }


class Origin(Closed):
    """The rollout that an RFT trace was."""

    run: str
    step: int
    group: str
    session: int
    data_source: str
    question: str
    ground_truth: Any
    score: float
    acc: float | None
    grounding: float | None
    format: float
    reason: str
    tokens: int
    """Tokens that the policy generated."""


class Chain(Closed):
    """One conversation to learn from, as a writer builds it. ``messages`` are in the form of ``chains.py``."""

    id: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    """Function schemas that the template shows. ``None``: those of the SFT recipe. Empty: none."""
    origin: Origin | None = None

    @model_validator(mode="after")
    def _check(self) -> Chain:
        from .problems import problems_of

        for problem in problems_of(self.messages):
            raise ValueError(str(problem))
        return self

    def to_parquet_row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "messages": json.dumps(self.messages, ensure_ascii=False),
            "tools": None if self.tools is None else json.dumps(self.tools, ensure_ascii=False),
            "origin": self.origin.model_dump_json() if self.origin else None,
        }


def write_rl_rows(rows: Iterable[RLRow], path: str | os.PathLike[str]) -> int:
    """Write ``rows`` as parquet with ``RL_SCHEMA``; returns how many; if none, an old file stays."""
    return _write((row.to_parquet_row() for row in rows), RL_SCHEMA, path)


def write_chains(chains: Iterable[Chain], path: str | os.PathLike[str]) -> int:
    """Write ``chains`` as parquet with ``SFT_SCHEMA``; as ``write_rl_rows``."""
    return _write((chain.to_parquet_row() for chain in chains), SFT_SCHEMA, path)


def _write(rows: Iterable[dict[str, Any]], schema: pa.Schema, path: str | os.PathLike[str], batch: int = 1024) -> int:
    """In batches, to a scratch file that takes the name when it is whole, and goes when it will not be."""
    import itertools

    import pyarrow.parquet as pq

    scratch, count, rows = f"{os.fspath(path)}.{os.getpid()}.tmp", 0, iter(rows)
    try:
        with pq.ParquetWriter(scratch, schema) as writer:
            while some := list(itertools.islice(rows, batch)):
                writer.write_table(pa.Table.from_pylist(some, schema=schema))
                count += len(some)
        if count:
            os.replace(scratch, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(scratch)
    return count
