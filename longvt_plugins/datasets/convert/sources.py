"""Files of any of the converters' formats -> records: parquet, JSON, JSON lines, and Charades-STA's text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longvt_plugins.datasets.tables import rows_of
from longvt_plugins.errors import DataError


def records_of(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Records in order, by the suffix of the file.

    Raises:
        DataError: the file does not open, is damaged, or is of another kind.
    """
    path = Path(path).expanduser()
    readers = {".parquet": rows_of, ".json": _json, ".jsonl": _json_lines, ".txt": _charades}
    if path.suffix not in readers:
        raise DataError(str(path), f"is none of {', '.join(readers)}", "Convert the annotation file itself.")
    try:
        yield from readers[path.suffix](path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), f"cannot be read ({error})", "Check the path.") from error


def _json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(str(path), f"is not JSON ({error})", "Fetch the file again.") from error
    if isinstance(records, dict):
        records = [record for video, about in records.items() for record in _activitynet(path, video, about)]
    if not isinstance(records, list):
        raise DataError(str(path), "is no list of records", "Convert the annotation file itself.")
    yield from records


def _activitynet(path: Path, video: str, about: Any) -> list[dict[str, Any]]:
    """Videos as keys, mostly without a suffix (``v_QOlSCBRmfWY``), with lists of times and sentences."""
    try:
        duration_s = about.get("duration")
        pairs = [*zip(about["timestamps"], about["sentences"], strict=True)]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}, {video}", "has no sentence for each of its timestamps", "Correct it.") from error
    video = video if Path(video).suffix else f"{video}.mp4"
    return [{"video": video, "timestamp": time, "sentence": said, "duration": duration_s} for time, said in pairs]


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number + 1}", f"is not JSON ({error})", "Fetch it again.") from error


def _charades(path: Path) -> Iterator[dict[str, Any]]:
    """``3MSZA 24.3 30.4##person turns a light on.``"""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            about, _, sentence = line.partition("##")
            parts = about.split()
            if len(parts) != 3 or not sentence.strip():
                raise DataError(
                    f"{path}, line {number + 1}: {line.strip()[:60]}",
                    "is not 'VIDEO START END##SENTENCE'",
                    "Correct it.",
                )
            yield {"video": f"{parts[0]}.mp4", "timestamp": parts[1:], "sentence": sentence.strip()}
