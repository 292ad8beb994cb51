"""``dataset_type: longvt``: SFT chains for lmms-engine's ``fsdp2_trainer``.

Files are listed as lmms-engine lists them (``datasets: [{path, data_folder, data_type: parquet}]``, or a YAML with the
same list). They may differ in schema: rows are read file by file and brought to one shape. Videos are decoded by
``longvt_plugins.video``. A row that cannot be used is left out, counted and listed with its reason; too many of them
stop the run. State for an exact resume is the stream's.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import torch
import yaml
from lmms_engine.datasets.iterable.base_iterable_dataset import BaseIterableDataset
from lmms_engine.datasets.packing import build_online_packer
from torch.utils.data import get_worker_info

from longvt_plugins.datasets.chains import read_messages, read_tools
from longvt_plugins.datasets.media import plan_media
from longvt_plugins.datasets.problems import problems_of
from longvt_plugins.datasets.tables import RowFiles
from longvt_plugins.errors import ConfigError, DataError

from .collator import LongVTCollator
from .options import SFTOptions, bad_rows_limit
from .stream import Sample, SampleStream


class LongVTIterableDataset(BaseIterableDataset):
    def build(self) -> None:
        """Load the processor and map the files.

        Raises:
            ConfigError: options that cannot work, or a checkpoint of another family or media profile.
            DataError: a file that is not whole parquet with rows.
        """
        self.processor = self._build_processor()
        self.processor.build()
        self.options = SFTOptions.of(self.config, self.processor.processor.image_processor)
        self.processor.use_profile(self.options.media.profile)
        self._build_from_config()
        self._resume: dict[str, Any] | None = None
        self._stream: SampleStream | None = None
        self._bad: dict[int, str] = {}
        self._overlong: set[int] = set()

    def _build_from_config(self) -> None:
        listed = self._listed()
        if not listed:
            raise ConfigError("datasets", "lists no file", "Name at least one parquet file.")
        self.rows = RowFiles([entry["path"] for entry in listed])
        self._roots = [os.path.expanduser(entry.get("data_folder") or "") for entry in listed]

    def _listed(self) -> list[dict[str, Any]]:
        listed = self.config.datasets
        if listed is None and self.config.dataset_path:
            with open(os.path.expanduser(self.config.dataset_path), encoding="utf-8") as file:
                listed = yaml.safe_load(file)["datasets"]
        for entry in listed or ():
            if entry.get("data_type", "parquet") != "parquet":
                raise ConfigError(
                    f"data_type {entry['data_type']!r} of {entry.get('path')}",
                    "json and jsonl are read whole into memory; the dataset longvt reads parquet",
                    "Convert it: longvt data convert.",
                )
        return listed or []

    def __len__(self) -> int:
        return len(self.rows)

    def get_collator(self) -> LongVTCollator:
        return LongVTCollator(self.processor.processor.tokenizer.pad_token_id, self.processor.anchor())

    def __iter__(self):
        worker = get_worker_info()
        workers, worker_id = (worker.num_workers, worker.id) if worker else (1, 0)
        rank, ranks = _data_parallel_rank()
        self._consumer, self._consumers = rank * workers + worker_id, ranks * workers
        packing = self.config.packing_strategy or "first_fit" if self.config.packing else None
        self._stream = SampleStream(
            len(self),
            self._load,
            consumer=self._consumer,
            consumers=self._consumers,
            seed=self.config.data_seed or 0,
            shuffle=self.config.shuffle,
            packer=self._packer(packing),
            identity=json.dumps([packing, self.config.packing_length, *map(os.path.basename, self.rows.paths)]),
        )
        if self._resume is not None:
            self._stream.restore(self._resume)
            self._resume = None
        yield from self._stream

    def state_dict(self) -> dict[str, Any]:
        """Asked by ``StatefulDataLoader`` after every batch, in the process that iterates."""
        if self._stream is None:
            return {"stream": self._resume, "bad": dict(self._bad)}
        return {"stream": self._stream.state(), "bad": dict(self._bad)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resume, self._bad = state["stream"], dict(state["bad"])

    def sample(self, row: int) -> Sample:
        """The sample of one row.

        Raises:
            DataError, VideoError: what is wrong with it.
        """
        data = self.rows[row]
        messages = read_messages(data)
        for problem in problems_of(messages):
            raise problem.error
        media = plan_media(messages, self._roots[self.rows.place(row)[0]], self.options.media)
        tools = read_tools(data)
        return self.processor.process_chain(media, self.options.tools if tools is None else tools)

    def name(self, row: int) -> str:
        """Where a row stands, for people."""
        file, offset = self.rows.place(row)
        return f"row {offset} of {os.path.basename(self.rows.paths[file])} (id {self.rows[row].get('id')})"

    def _packer(self, strategy: str | None):
        if strategy is None:
            return None
        options = (self.config.extra_kwargs or {}).get("packing_kwargs") or {}
        return build_online_packer(strategy, self.config.packing_length, **options)

    def _load(self, row: int) -> Sample | None:
        if row in self._bad or row in self._overlong:
            return None
        try:
            sample = self.sample(row)
        except ConfigError:
            raise
        except Exception as error:  # a bad row is data: whatever is in it, the run goes on without it
            self._leave_out(row, f"{type(error).__name__}: {error}")
            return None
        limit = self.config.packing_length if self.config.packing else self.config.max_length
        length = len(sample["input_ids"])
        if limit and length > limit and (self.config.filter_overlong or self.config.packing):
            self._overlong.add(row)
            self._report(row, "overlong", f"{length} tokens, at most {limit} are allowed")
            return None
        return sample

    def _leave_out(self, row: int, reason: str) -> None:
        self._bad[row] = reason
        self._report(row, "bad", reason)
        share = self.options.max_bad_rows
        if len(self._bad) > bad_rows_limit(len(self), self._consumers, share, self._stream.taken):
            listed = "\n".join(f"  {self.name(r)}: {why}" for r, why in [*self._bad.items()][:20])
            raise DataError(
                f"{len(self._bad)} bad rows for this worker, of {len(self)} rows in all",
                f"more than max_bad_rows={share} allows:\n{listed}".removesuffix("."),
                "See longvt check-data FILE, then fix the rows or raise extra_kwargs.longvt.max_bad_rows",
            )

    def _report(self, row: int, kind: str, reason: str) -> None:
        """To stderr of every rank, and to a list if one is wanted: nobody reads the log of rank 17."""
        record = {"row": self.name(row), "kind": kind, "reason": reason}
        print(f"longvt: {kind}: {record['row']}: {reason}", file=sys.stderr, flush=True)
        if self.options.bad_rows:
            folder = os.path.expanduser(self.options.bad_rows)
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"consumer_{self._consumer}.jsonl"), "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def _data_parallel_rank() -> tuple[int, int]:
    """``(rank, ranks)`` among those that read different data."""
    import lmms_engine.parallel.process_group_manager as groups

    manager = getattr(groups, "process_group_manager", None)
    if manager is not None:
        return manager.dp_rank, manager.dp_world_size
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
