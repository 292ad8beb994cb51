"""Running without a GPU: off unless ``VERL_PLATFORM=cpu`` is set when ``verl`` is imported."""
