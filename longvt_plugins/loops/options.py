"""What a recipe says about the loop: ``actor_rollout_ref.rollout.custom.longvt``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from longvt_plugins.episode import Limits
from longvt_plugins.errors import ConfigError

REPLY_TOKENS = 80
"""Allowed for the words of a reply and what a template puts around it. What is really added is counted first."""


INCLUSION_KEY = "longvt_inclusion"
"""Of ``trainer``, set by ``longvt_sync``."""


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Refuse a trainer that would train on faulted and abstained trajectories as if they had scored 0.

    Raises:
        ConfigError: the trainer is not ``longvt_sync``.
    """
    mode = trainer["v1"]["trainer_mode"]
    if mode != "longvt_sync" and not trainer.get(INCLUSION_KEY):
        raise ConfigError(
            f"trainer.v1.trainer_mode={mode}",
            "takes faulted and abstained trajectories of longvt_agent for scores of 0",
            "Set trainer.v1.trainer_mode=longvt_sync.",
        )


@dataclass(frozen=True)
class LoopOptions:
    """Keys of ``rollout.custom.longvt``: the fields of ``Limits``, and ``answer_tokens``."""

    limits: Limits
    answer_tokens: int
    """Of the response, kept free by crops for the turn that answers. Default: an eighth of the response."""

    @classmethod
    def of(cls, rollout: Mapping[str, Any], response_length: int) -> LoopOptions:
        """Options from a rollout configuration. ``multi_turn.max_assistant_turns`` is the default of ``max_turns``.

        Raises:
            ConfigError: an unknown key, or a value no trajectory can be made with.
        """
        given = dict((rollout.get("custom") or {}).get("longvt") or {})
        answer_tokens = given.pop("answer_tokens", None)
        known = [field.name for field in fields(Limits)]
        unknown = sorted(given.keys() - set(known))
        if unknown:
            raise ConfigError(
                f"rollout.custom.longvt keys {unknown}",
                f"known are {', '.join([*known, 'answer_tokens'])}",
                "Correct the recipe.",
            )
        turns = (rollout.get("multi_turn") or {}).get("max_assistant_turns")
        limits = Limits(**{"max_turns": turns or Limits.max_turns, **given})
        if answer_tokens is None:
            answer_tokens = response_length // 8
        if not isinstance(answer_tokens, int) or not 0 < answer_tokens < response_length:
            raise ConfigError(
                f"answer_tokens={answer_tokens!r}",
                f"must lie between 1 and data.max_response_length={response_length}",
                "Change it in rollout.custom.longvt.",
            )
        return cls(limits, answer_tokens)
