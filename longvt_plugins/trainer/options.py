"""What a recipe says about ``longvt_sync``: ``trainer.longvt``."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import RewardRecord

NUMBERS = tuple(
    name
    for name, field in RewardRecord.model_fields.items()
    if set(get_args(field.annotation) or [field.annotation]) <= {int, float, NoneType}
)
"""Fields of ``RewardRecord`` that an advantage can be made of."""


def read_options(trainer: Mapping[str, Any]) -> tuple[str | None, dict[str, float]]:
    """``folder``, ``None`` for the trainer's own, and the weights of ``components``.

    Raises:
        ConfigError: an unknown key, or a component or weight that is no number.
    """
    options = dict(trainer.get("longvt") or {})
    folder, components = options.pop("folder", None), dict(options.pop("components", None) or {})
    if options:
        raise ConfigError(f"trainer.longvt {[*options]}", "is not a known key", "Known: folder, and components.")
    for name, weight in components.items():
        if name not in NUMBERS:
            remedy = f"Components are {', '.join(NUMBERS)}."
            raise ConfigError(f"trainer.longvt.components.{name}", "is no number of RewardRecord", remedy)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ConfigError(f"trainer.longvt.components.{name}={weight}", "is no weight", "Set it to a number.")
    return folder, components
