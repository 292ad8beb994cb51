"""``longvt data convert NAME``: public datasets, and rollouts, into our rows.

A converter is a line in ``CONVERTERS``. It reads one record at a time; a record that cannot be used is left out,
counted and told with its reason, never guessed at. ``seen`` tells how its format is known: ``published`` files read by
others and described with their columns, or a public ``card`` alone.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longvt_plugins.datasets.schema import Chain, RLRow
from longvt_plugins.errors import ConfigError, DataError

Row = RLRow | Chain


@dataclass(frozen=True)
class Converter:
    module: str
    what: str
    into: Literal["rl", "sft"]
    seen: str
    """How the format is known."""
    needs: tuple[str, ...]
    """Columns or keys that each record must have."""

    def load(self) -> Callable[[Mapping[str, Any], int, Options], Row]:
        return importlib.import_module(f"longvt_plugins.datasets.convert.{self.module}").convert


@dataclass(frozen=True)
class Options:
    """What a converter may be told."""

    data_source: str = ""
    split: str = "train"
    system: str = "Think in <think> tags, look closer with crop_video where needed, and end with <answer>...</answer>."
    """System prompt of RL rows; of SFT chains their own is kept."""


@dataclass
class Funnel:
    """How many records went in, and what became of them."""

    read: int = 0
    written: int = 0
    left_out: Counter = field(default_factory=Counter)
    """Reason -> how many."""
    examples: dict[str, str] = field(default_factory=dict)
    """Reason -> the first record it was given for."""

    def drop(self, reason: str, example: str) -> None:
        self.left_out[reason] += 1
        self.examples.setdefault(reason, example)

    def lines(self) -> list[str]:
        left = [
            f"  {count} left out: {reason} ({self.examples[reason]})" for reason, count in self.left_out.most_common()
        ]
        return [f"{self.read} read, {self.written} written", *left]


CONVERTERS = {
    "longvt-rl": Converter(
        "longvt_rl", "LongVT-Parquet, RL splits (longvt_rl_*.parquet)", "rl",
        "published files, as described by others who read them",
        ("data_source", "prompt", "videos", "reward_model", "extra_info"),
    ),
    "longvt-sft": Converter(
        "longvt_sft", "LongVT-Parquet, SFT and RFT splits (longvt_sft_*, longvt_rft_*)", "sft",
        "published files, as described by others who read them", ("messages",),
    ),
    "videosiah-eval": Converter(
        "questions", "VideoSIAH-Eval, open questions", "rl", "columns read by others from the published parquet",
        ("video_path", "question", "answer"),
    ),
    "time-r1": Converter(
        "grounding", "Time-R1 training and TVGBench-like grounding annotations", "rl",
        "public loader code (xiaomi-research/time-r1) and LongVT's own script", ("video", "sentence", "timestamp"),
    ),
    "charades-sta": Converter(
        "grounding", "Charades-STA, charades_sta_{train,test}.txt", "rl", "public annotation files",
        ("video", "sentence", "timestamp"),
    ),
    "video-r1": Converter(
        "questions", "Video-R1-260k.json", "rl", "rows quoted in public code",
        ("problem", "problem_type", "data_type", "solution", "path"),
    ),
    "longvideo-reason": Converter(
        "questions", "LongVideo-Reason train.jsonl, val.jsonl, test.jsonl", "rl", "a published row in public notes",
        ("problem", "videos", "answer"),
    ),
}  # fmt: skip


def converter_named(name: str) -> Converter:
    """Raises:
    ConfigError: there is none.
    """
    if name not in CONVERTERS:
        raise ConfigError(f"{name!r}", f"known are {', '.join(CONVERTERS)} and rollouts", "Correct the name.")
    return CONVERTERS[name]


def convert_records(name: str, records: Iterable[Mapping[str, Any]], options: Options, funnel: Funnel) -> Iterator[Row]:
    """Rows of the records that can be used; ``funnel`` is told of all.

    Raises:
        DataError: the first record lacks a column that the format has: these are other people's files.
    """
    converter = converter_named(name)
    convert = converter.load()
    for number, record in enumerate(records):
        funnel.read += 1
        keys = record.keys() if isinstance(record, Mapping) else ()
        missing = [key for key in converter.needs if key not in keys]
        if missing and number == 0:
            raise DataError(
                f"record 0 with {sorted(map(str, keys))}",
                f"{name} lacks {', '.join(missing)}",
                f"Its format is known from: {converter.seen}. Rename the columns, or choose another converter.",
            )
        try:
            if missing:
                raise DataError(f"keys {missing}", "are missing", "Complete the record.")
            row = convert(record, number, options)
        except DataError as error:
            funnel.drop(error.rule, f"record {number}: {error.value}"[:160])
            continue
        except ValueError as error:
            funnel.drop("does not make a valid row", f"record {number}: {' '.join(str(error).split())}"[:200])
            continue
        except Exception as error:  # a bad record is data: whatever is in it, the records after it are converted
            funnel.drop(f"cannot be read ({type(error).__name__})", f"record {number}: {error}"[:160])
            continue
        funnel.written += 1
        yield row
