"""LongVT-Parquet's SFT and RFT conversations. The dataset reads them as they are; this makes them plain: JSON strings
that load beside any other file, replies of tools as turns of their own.

Paths are kept, and what the assistant says to the letter, the path in its calls included: changing it would teach other
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longvt_plugins.datasets.chains import read_messages, read_tools
from longvt_plugins.datasets.schema import Chain

from . import Options


def convert(record: Mapping[str, Any], number: int, options: Options) -> Chain:
    name = record.get("id")
    return Chain(
        id=str(name) if name not in (None, "") else f"{options.data_source or 'row'}_{number}",
        messages=read_messages(record),
        tools=read_tools(record),
    )
