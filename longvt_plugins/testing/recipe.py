"""``compose_recipe``, where tests look for it."""

from longvt_plugins.launch.compose import compose_recipe

__all__ = ["compose_recipe"]
