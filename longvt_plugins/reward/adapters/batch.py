"""What the adapters share: a batch of completions with its dataset columns -> one ``RewardRecord`` each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from longvt_plugins.reward.compute import judged_reward, listed
from longvt_plugins.reward.config import RewardConfig
from longvt_plugins.reward.conversation import text_of, transcript_of_messages, transcript_of_text
from longvt_plugins.types import RewardRecord, Transcript

if TYPE_CHECKING:
    from longvt_plugins.reward.judge import Judge

REFERENCES = ("ground_truth", "solution", "answer")
"""Columns that may hold the true answer; the first that is there does."""


async def score_batch(
    completions: Sequence[Any],
    columns: Mapping[str, Any],
    config: RewardConfig,
    prompts: Sequence[Any] | None = None,
    judge: Judge | None = None,
) -> list[RewardRecord]:
    """Score all at once.

    Args:
        completions: messages, or one string each (then no call counts as executed, unless ``config.from_text``).
        columns: lists as long as ``completions``: a reference (``REFERENCES``), and optionally ``question``,
            ``options``, ``segments`` and ``data_source``.
        prompts: where ``question`` is no column, its text is the last user message before the policy's first.
        judge: ``None``: that of ``config``, which lives as long as the event loop.
    """
    reference = next((name for name in REFERENCES if name in columns), None)

    async def score(index: int) -> RewardRecord:
        def cell(name: str, default: Any = None) -> Any:
            return columns[name][index] if columns.get(name) is not None else default

        question = cell("question") or (_question(prompts[index]) if prompts else "")
        return await judged_reward(
            _transcript(completions[index], config),
            cell(reference) if reference else None,
            options=listed(cell("options")),
            segments=cell("segments"),
            config=config,
            question=str(question),
            data_source=str(cell("data_source", "")),
            judge=judge,
        )

    return list(await asyncio.gather(*map(score, range(len(completions)))))


def _transcript(completion: Any, config: RewardConfig) -> Transcript:
    if isinstance(completion, str):
        if config.from_text:
            return transcript_of_text(completion)
        completion = [{"role": "assistant", "content": completion}]
    return transcript_of_messages(completion)


def _question(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    # Later ones are what an environment says meanwhile.
    asking = takewhile(lambda message: message.get("role") != "assistant", prompt)
    users = [text_of(message.get("content")) for message in asking if message.get("role") == "user"]
    return users[-1] if users else ""
