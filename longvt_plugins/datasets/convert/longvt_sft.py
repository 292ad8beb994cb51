"""LongVT-Parquet's SFT and RFT conversations. The dataset reads them as they are; this makes them plain: JSON strings
that load beside any other file, replies of tools as turns of their own, paths relative.

What the assistant says is kept to the letter, the path in its calls included: changing it would teach other words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longvt_plugins.datasets.chains import read_messages, read_tools
from longvt_plugins.datasets.schema import Chain

from . import Options
from .longvt_rl import relative


def convert(record: Mapping[str, Any], number: int, options: Options) -> Chain:
    messages = read_messages(record)
    for message in messages:
        for item in message["content"]:
            if item["type"] != "text":
                item[item["type"]]["url"] = relative(item[item["type"]]["url"])
    name = record.get("id")
    return Chain(
        id=str(name) if name not in (None, "") else f"{options.data_source or 'row'}_{number}",
        messages=messages,
        tools=read_tools(record),
    )
