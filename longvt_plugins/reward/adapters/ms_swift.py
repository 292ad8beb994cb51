"""ms-swift: ``--external_plugins``, ``--reward_funcs longvt``. Importing this imports ms-swift.

    # plugin.py
    from longvt_plugins.reward.adapters import ms_swift
    ms_swift.register(judge={"endpoints": ["http://judge:8000/v1"]})

ms-swift has no way to leave a sample out: it counts a missing reward as 0. So an abstention gets the mean of the
scored samples of its question in the same call, which leaves the group's mean where it was and gives it advantage 0;
the group's std shrinks a little. Where a group has no score at all, every member gets 0, and the advantages are 0.
A group that is split between processes is seen in parts. Tested with ms-swift 4.6.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from swift.rewards.orm import AsyncORM, orms

from longvt_plugins.reward.compute import new_judge
from longvt_plugins.reward.config import RewardConfig
from longvt_plugins.types import RewardRecord

from .batch import score_batch


def register(name: str = "longvt", **options: Any) -> type[AsyncORM]:
    """Make the reward known to ms-swift as ``name``.

    Args:
        options: fields of ``RewardConfig``. Columns that the dataset needs: see ``batch.score_batch``.
    """
    config = RewardConfig(**options)

    class LongVT(AsyncORM):
        async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float]:
            conversations = columns.pop("messages", None)
            said = [_after_the_question(messages) for messages in conversations] if conversations else completions
            # ms-swift has an event loop for every batch, and connections end with theirs.
            judge = new_judge(config.judge) if config.judge else None
            async with judge or nullcontext():
                records = await score_batch(said, columns, config, conversations, judge)
            return neutral(records, _questions(columns, conversations, len(records)))

    orms[name] = LongVT
    return LongVT


def neutral(records: Sequence[RewardRecord], questions: Sequence[str]) -> list[float]:
    """Scores, with each abstention at the mean of its question's scored samples."""
    scored: dict[str, list[float]] = defaultdict(list)
    for record, question in zip(records, questions, strict=True):
        if not record.abstained:
            scored[question].append(record.score)
    means = {question: sum(scores) / len(scores) for question, scores in scored.items()}
    return [
        means.get(question, 0.0) if record.abstained else record.score
        for record, question in zip(records, questions, strict=True)
    ]


def _questions(columns: dict[str, Any], conversations: Sequence[Any] | None, count: int) -> list[str]:
    for name in ("prompt_id", "question"):
        if columns.get(name) is not None:
            return [str(value) for value in columns[name]]
    if conversations:
        return [str([m for m in messages if m["role"] in ("system", "user")]) for messages in conversations]
    return [""] * count


def _after_the_question(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["role"] in ("assistant", "tool")]
