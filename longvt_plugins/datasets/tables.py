"""Parquet files as rows: streamed for a check, memory-mapped for training; what does not open is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from longvt_plugins.errors import DataError


def open_parquet(path: str | os.PathLike[str]):
    """``pyarrow.parquet.ParquetFile`` of a file with rows.

    Raises:
        DataError: missing, truncated, not parquet, or without a row.
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


def map_rows(path: str | os.PathLike[str]):
    """A memory-mapped ``datasets.Dataset``: its rows cost memory only while they are used.

    Raises:
        DataError: as ``open_parquet``.
    """
    from datasets import Dataset

    open_parquet(path)
    return Dataset.from_parquet(os.path.expanduser(os.fspath(path)))
