"""Divide the logits of the actor by the temperature in float32, as vLLM does. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools


def apply(transformer_impl) -> None:
    """Wrap ``verl.workers.engine.fsdp.transformer_impl._scale_logits_by_temperature``."""
    original = transformer_impl._scale_logits_by_temperature

    @functools.wraps(original)
    def scale(logits, temperature, *, is_unit_temperature: bool):
        return original(
            logits if is_unit_temperature else logits.float(), temperature, is_unit_temperature=is_unit_temperature
        )

    transformer_impl._scale_logits_by_temperature = scale
