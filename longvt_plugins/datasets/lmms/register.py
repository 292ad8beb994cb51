"""Make our names known to lmms-engine, and apply the work-arounds that concern it. Once per process."""

from __future__ import annotations

import importlib

from longvt_plugins.upstream.ledger import LEDGER


def register() -> None:
    """``dataset_type`` and ``processor_type`` of this package, then ``longvt_plugins.upstream``."""
    from lmms_engine.mapping_func import DATAPROCESSOR_MAPPING, register_dataset, register_processor

    if "longvt_qwen2_5_vl" in DATAPROCESSOR_MAPPING:
        return
    from .dataset import LongVTIterableDataset
    from .processor import LongVTQwen2_5VLProcessor, LongVTQwen3VLProcessor

    register_dataset("longvt")(LongVTIterableDataset)
    register_processor("longvt_qwen2_5_vl")(LongVTQwen2_5VLProcessor)
    register_processor("longvt_qwen3_vl")(LongVTQwen3VLProcessor)
    for entry in LEDGER:
        if entry.after and entry.after.startswith("lmms_engine."):
            importlib.import_module(entry.module).apply(importlib.import_module(entry.after))
