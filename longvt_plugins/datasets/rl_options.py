"""What a recipe says about RL rows: ``data.longvt``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.video import SamplingPolicy

OPTIONS = ("video_root", "profile", "overview", "shrink", "picture_pixels")


def read_options(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options, and among them those of the overview's sampling, from the ``data`` part of a recipe.

    Raises:
        ConfigError: an unknown key.
    """
    options = dict(data.get("longvt") or {})
    sampling = dict(options.get("overview") or {})
    unknown = [*(options.keys() - set(OPTIONS)), *(sampling.keys() - SamplingPolicy.__dataclass_fields__.keys())]
    if unknown:
        raise ConfigError(
            f"data.longvt keys {sorted(unknown)}",
            f"known are {', '.join(OPTIONS)}, and under overview {', '.join(SamplingPolicy.__dataclass_fields__)}",
            "Correct the recipe.",
        )
    return options, sampling
