"""Extras of the package (``setup.cfg``), by the modules that they bring."""

from __future__ import annotations

from longvt_plugins.errors import ConfigError

EXTRAS = {
    **dict.fromkeys(("pyarrow", "yaml"), "data"),
    **dict.fromkeys(("verl", "transfer_queue", "transformers"), "rl"),
    **dict.fromkeys(("hydra", "omegaconf", "ray", "tensordict", "torch"), "rl"),
    "lmms_engine": "sft",
    "mcp": "eval",
    "math_verify": "math",
}
COMMON = ("omegaconf", "pyarrow", "yaml")
"""Several extras bring these: a verb is told the one that it needs anyway."""
OF_VERB = {"ask": "eval", "data": "data", "evaluate": "eval"}
OF_VERB |= dict.fromkeys(("check-recipe", "launch", "migrate", "pilot", "verify"), "rl")


def missing_extra(error: ModuleNotFoundError, verb: str) -> ConfigError | None:
    """What to tell instead of ``error``; ``None`` where no extra brings the module: it is ours, or a defect."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(module)
    if module in COMMON:
        extra = OF_VERB.get(verb, extra)
    if extra is None:
        return None
    rule = f"is not installed, and 'longvt {verb}' needs it here"
    return ConfigError(module, rule, f"pip install 'longvt-plugins[{extra}]'")
