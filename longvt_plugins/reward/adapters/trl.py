"""TRL: ``GRPOTrainer(reward_funcs=reward_function(...))``.

An abstention is ``None``, which TRL excludes from the group's mean and std and gives advantage 0 (since 1.x; older
versions count it as 0). Tested with TRL 1.16.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from longvt_plugins.reward.config import RewardConfig

from .batch import score_batch


def reward_function(**options: Any) -> Callable[..., Awaitable[list[float | None]]]:
    """A reward function for TRL.

    Args:
        options: fields of ``RewardConfig``. Columns that the dataset needs: see ``batch.score_batch``.
    """
    config = RewardConfig(**options)

    async def longvt(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        log_extra = columns.pop("log_extra", None)
        records = await score_batch(completions, columns, config, prompts)
        if log_extra is not None:
            log_extra("reason", [record.reason for record in records])
        return [None if record.abstained else record.score for record in records]

    return longvt
