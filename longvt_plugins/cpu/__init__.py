"""Running without a GPU: off unless ``VERL_PLATFORM=cpu`` is set when ``verl`` is imported."""

import os


def chosen() -> bool:
    """True when the user runs without a GPU on purpose."""
    return os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"
