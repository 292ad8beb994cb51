"""Parquet files as rows: streamed for a check, memory-mapped for training; what does not open is named."""

from __future__ import annotations

import bisect
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from longvt_plugins.errors import DataError

from .schema import SFT_VERSION, VERSION


def open_parquet(path: str | os.PathLike[str]):
    """``pyarrow.parquet.ParquetFile`` of a file with rows.

    Raises:
        DataError: missing, truncated, not parquet, without a row, or of a later version of our schemas.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = os.path.expanduser(os.fspath(path))
    try:
        file = pq.ParquetFile(path)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or error})", "Check the path.") from error
    except pa.ArrowException as error:
        raise DataError(path, f"is not whole parquet ({error})", "Fetch the file again.") from error
    if file.metadata.num_rows == 0:
        raise DataError(path, "has no rows", "Drop it from the list, or write it again.")
    metadata = file.schema_arrow.metadata or {}
    for key, known in ((b"longvt_rl_version", VERSION), (b"longvt_sft_version", SFT_VERSION)):
        if int(metadata.get(key, known)) > known:
            rule = f"has {key.decode()} {metadata[key].decode()}, this package knows {known}"
            raise DataError(path, rule, "Update longvt-plugins.")
    return file


def rows_of(path: str | os.PathLike[str], batch: int = 256) -> Iterator[dict[str, Any]]:
    """Rows in order, a batch in memory at a time.

    Raises:
        DataError: as ``open_parquet``, or a part of the file is damaged.
    """
    import pyarrow as pa

    file, number = open_parquet(path), 0
    try:
        for record_batch in file.iter_batches(batch_size=batch):
            for row in record_batch.to_pylist():
                yield row
                number += 1
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}, row {number}", f"is damaged ({error})", "Fetch the file again.") from error


class RowFiles:
    """Rows of several files as one sequence. Memory-mapped: a row costs memory only while it is used. Files may differ
    in schema, which joining them would not survive: each row is read on its own and brought to one shape.

    Args:
        paths: parquet files.
        shape: ``(row, number) -> row``, applied to each row that is taken.

    Raises:
        DataError: as ``open_parquet``.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        shape: Callable[[dict[str, Any], int], dict[str, Any]] | None = None,
    ):
        import pyarrow
        from datasets import Dataset

        self.paths = [os.path.expanduser(os.fspath(path)) for path in paths]
        for path in self.paths:
            open_parquet(path)
        self._files = [Dataset.from_parquet(glob.escape(path)) for path in self.paths]
        # Converting a file to its memory-mapped cache takes buffers that Arrow would keep for the next one.
        pyarrow.default_memory_pool().release_unused()
        self._starts = [0]
        for file in self._files:
            self._starts.append(self._starts[-1] + len(file))
        self.column_names = sorted({column for file in self._files for column in file.column_names})
        self._shape = shape
        self._chosen: list[int] | None = None

    def has_values(self, column: str) -> bool:
        """Whether any row has a value in ``column``."""
        columns = [file.data.column(column) for file in self._files if column in file.column_names]
        return any(values.null_count < len(values) for values in columns)

    def __len__(self) -> int:
        return self._starts[-1] if self._chosen is None else len(self._chosen)

    def __getitem__(self, item: int) -> dict[str, Any]:
        if not 0 <= item < len(self):
            raise IndexError(item)
        number = item if self._chosen is None else self._chosen[item]
        file, offset = self.place(number)
        row = dict.fromkeys(self.column_names) | self._files[file][offset]
        return row if self._shape is None else self._shape(row, number)

    def place(self, number: int) -> tuple[int, int]:
        """File and row in it of the row with this number, numbers counting through all files."""
        file = bisect.bisect_right(self._starts, number) - 1
        return file, number - self._starts[file]

    def select(self, items: Sequence[int]) -> RowFiles:
        """These rows of this sequence, without copying any."""
        chosen = object.__new__(RowFiles)
        chosen.__dict__ = dict(self.__dict__)
        chosen._chosen = [item if self._chosen is None else self._chosen[item] for item in items]
        return chosen
