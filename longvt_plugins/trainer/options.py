"""What a recipe says about ``longvt_sync``: ``trainer.longvt``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import RewardRecord


def read_options(trainer: Mapping[str, Any]) -> tuple[str | None, dict[str, float]]:
    """``folder``, ``None`` for the trainer's own, and the weights of ``components``.

    Raises:
        ConfigError: an unknown key.
    """
    options = dict(trainer.get("longvt") or {})
    folder, components = options.pop("folder", None), dict(options.pop("components", None) or {})
    unknown = [*options, *(name for name in components if name not in RewardRecord.model_fields)]
    if unknown:
        remedy = "Known: folder, and components with fields of RewardRecord."
        raise ConfigError(f"trainer.longvt {unknown}", "is not a known key", remedy)
    return folder, components
