"""Columns of a batch in the TransferQueue as lists of rows, by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import transfer_queue as tq
from tensordict import TensorDict


def get_rows(batch, names: Sequence[str]) -> dict[str, list]:
    """Fields of ``batch``: tensors for nested or stacked fields, objects for the others. Absent fields are left out."""
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(names))
    columns = {name: data[name] for name in names if name in data.keys()}  # noqa: SIM118
    return {name: _rows(column) for name, column in columns.items()}


def put_rows(keys: Sequence[str], partition_id: str, columns: Mapping[str, Sequence[torch.Tensor]]):
    """Write tensors of different lengths, a column a name, a row a key. Returns the batch as the queue knows it."""
    fields = {name: torch.nested.as_nested_tensor(list(rows), layout=torch.jagged) for name, rows in columns.items()}
    return tq.kv_batch_put(list(keys), partition_id, fields=TensorDict(fields, batch_size=len(keys)))


def group_of(key: str) -> str:
    """The prompt that a trajectory's key ``{uid}_{session}_{index}`` belongs to."""
    return key.rsplit("_", 2)[0]


def _rows(column) -> list:
    if isinstance(column, torch.Tensor):
        return list(column.unbind())
    # TransferQueue returns a NonTensorStack, or a list subclass, depending on what was stored.
    return column.tolist() if hasattr(column, "tolist") else list(column)
