"""Which rows a consumer reads, in which order, and how that resumes exactly. No torch, no lmms-engine.

A consumer is one DataLoader worker of one rank. The stream of rows is endless: epoch after epoch, each shuffled by
seed and epoch; position ``p`` of it belongs to consumer ``p mod consumers``. So every rank always has a batch, and
no row is dropped where an epoch ends. The state names the next position and the rows that wait in the packer. It is
set before a sample is handed out, never after: what runs after a ``yield`` runs only when the next sample is asked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from longvt_plugins.errors import ConfigError, DataError

VERSION = 1
Sample = dict[str, Any]


class Packer(Protocol):
    """As in ``lmms_engine.datasets.packing``. It holds rows by number, so its state is plain data."""

    def add(self, item: int, length: int) -> Iterator[list[int]]: ...


class SampleStream:
    """Samples of one consumer.

    Args:
        rows: how many there are in all.
        load: row number -> sample with ``input_ids``, or ``None`` for one that is left out.
        packer: groups rows into packs; ``None``: each sample alone.
        identity: whatever else must be the same when a state is loaded (files, packing).
    """

    def __init__(
        self,
        rows: int,
        load: Callable[[int], Sample | None],
        *,
        consumer: int = 0,
        consumers: int = 1,
        seed: int = 42,
        shuffle: bool = True,
        packer: Packer | None = None,
        identity: str = "",
    ):
        self._rows, self._load, self._packer = rows, load, packer
        self._consumer, self._consumers = consumer, consumers
        self._seed, self._shuffle = seed, shuffle
        self._about = {
            "version": VERSION,
            "rows": rows,
            "consumer": consumer,
            "consumers": consumers,
            "seed": seed,
            "shuffle": shuffle,
            "identity": identity,
        }
        self._position = consumer
        self._ready: list[list[int]] = []
        self._held: dict[int, Sample] = {}
        self._order: tuple[int, np.ndarray] | None = None
        self._fruitless = 0

    def __iter__(self) -> Iterator[Sample | list[Sample]]:
        """Endless: a sample, or with a packer a list of samples."""
        while True:
            if self._packer is None:
                row, self._position = self._row(self._position), self._position + self._consumers
                sample = self._count(self._load(row))
                if sample is not None:
                    yield sample
                continue
            while self._ready:
                pack = self._ready.pop(0)
                samples = [self._take(row) for row in pack]
                samples = [sample for sample in samples if sample is not None]
                if samples:
                    yield samples
            self._fill()

    @property
    def taken(self) -> int:
        """Rows taken from the stream so far."""
        return (self._position - self._consumer) // self._consumers

    def state(self) -> dict[str, Any]:
        """Plain data that a new stream of the same rows goes on from."""
        packer = None if self._packer is None else copy.deepcopy(vars(self._packer))
        return {"about": self._about, "position": self._position, "ready": [*self._ready], "packer": packer}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            ConfigError: the state is of other rows or another number of consumers, and so names other samples.
        """
        differ = {
            key: (state["about"].get(key), value)
            for key, value in self._about.items()
            if state["about"].get(key) != value
        }
        if differ:
            told = ", ".join(f"{key} was {old!r} and is {new!r}" for key, (old, new) in differ.items())
            raise ConfigError(
                f"data state of the checkpoint: {told}",
                "exact resume needs the same files, processes, dataloader workers, seed and packing",
                "Set them as they were, or remove dataloader_state/ from the checkpoint to begin the data anew.",
            )
        self._position, self._ready = state["position"], [list(pack) for pack in state["ready"]]
        if self._packer is not None:
            vars(self._packer).update(copy.deepcopy(state["packer"]))

    def _fill(self) -> None:
        """Put one more row into the packer. All packs it completes are queued before any is handed out."""
        row, self._position = self._row(self._position), self._position + self._consumers
        sample = self._count(self._load(row))
        if sample is not None:
            self._held[row] = sample
            self._ready += [list(pack) for pack in self._packer.add(row, len(sample["input_ids"]))]

    def _take(self, row: int) -> Sample | None:
        """A packed sample; after a resume it is loaded again."""
        return self._held.pop(row) if row in self._held else self._load(row)

    def _row(self, position: int) -> int:
        epoch, offset = divmod(position, self._rows)
        if not self._shuffle:
            return offset
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self._seed, epoch)).permutation(self._rows)
        return int(self._order[1][offset])

    def _count(self, sample: Sample | None) -> Sample | None:
        self._fruitless = 0 if sample is not None else self._fruitless + 1
        if self._fruitless > self._rows:
            raise DataError(
                f"{self._rows} rows", "none of them gives a sample", "See the reasons logged for each bad row."
            )
        return sample
