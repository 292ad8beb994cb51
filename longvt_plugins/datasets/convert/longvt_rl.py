"""LongVT-Parquet's RL rows. The dataset reads them as they are; this makes them plain: our columns, paths as text.

A path of another machine is kept whole: the root that a reader is given may hold its folders.

The sentence that names the video's path stays in the prompt only where it was; the tool needs no path here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from longvt_plugins.datasets.rl_rows import extra_info, media_urls, prompt_of, struct
from longvt_plugins.datasets.schema import Message, RLRow
from longvt_plugins.errors import DataError

from . import Options

PATH_SENTENCE = re.compile(r"\s*The [Vv]ideo path for this video is: ?\S+")


def convert(record: Mapping[str, Any], number: int, options: Options) -> RLRow:
    info, answer = extra_info(record), struct(record, "reward_model").get("ground_truth")
    if answer in (None, ""):
        raise DataError("reward_model.ground_truth", "has no answer", "Drop the row.")
    prompt = [
        Message(role=message["role"], content=PATH_SENTENCE.sub("", message["content"]).strip())
        for message in prompt_of(record)
    ]
    return RLRow(
        data_source=options.data_source or record["data_source"],
        prompt=prompt,
        videos=media_urls(record, "videos"),
        images=media_urls(record, "images"),
        question=info.get("question") or prompt[-1].content.replace("<video>", "").strip(),
        ground_truth=str(answer),
        index=info.get("index", number),
        split=info.get("split", options.split),
        options=info.get("options", []),
        segments=info.get("segments", []),
        tools=info.get("tool_selection") or None,
        agent_name=record.get("agent_name") or None,
    )
