"""Datasets: schemas and adapters. ``LongVTDataset`` (verl) is loaded when asked for."""

__all__ = ["LongVTDataset"]


def __getattr__(name: str):
    if name == "LongVTDataset":
        from .verl_rl import LongVTDataset

        return LongVTDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
