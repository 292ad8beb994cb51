"""What a launch script gives to ``verl.trainer.main_ppo``: its Hydra overrides, with the script's own variables.

Nothing is executed. A variable that the script does not set becomes ``${oc.env:NAME}``, read when the recipe runs.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from longvt_plugins.errors import ConfigError

MODULE = "verl.trainer.main_ppo"
ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL)
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^{}]*))?\}|(\w+))")


@dataclass(frozen=True)
class Script:
    overrides: tuple[str, ...]
    """As written, variables replaced."""
    options: tuple[str, ...]
    """Hydra's own, such as ``--config-name=...``."""


def read_script(text: str) -> Script:
    """The one call of ``main_ppo`` in a shell script.

    Raises:
        ConfigError: no call of it, several, or a line that is no shell.
    """
    variables: dict[str, str] = {}
    calls = []
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        try:
            words = [_replaced(word, variables) for word in shlex.split(line, comments=True)]
        except ValueError as error:
            raise ConfigError(line[:80], f"is not shell as this reader knows it ({error})", "Simplify it.") from error
        if MODULE in words:
            calls.append([word for word in words[words.index(MODULE) + 1 :] if word != "$@"])
            continue
        for word in words[1:] if words[:1] == ["export"] else words:
            assignment = ASSIGNMENT.fullmatch(word)
            if assignment is None:
                break
            variables[assignment[1]] = assignment[2]
    if len(calls) != 1:
        rule = f"must call {MODULE} once, with its overrides on that (continued) line"
        raise ConfigError(f"{len(calls)} calls", rule, "Give the script of one run.")
    options = tuple(word for word in calls[0] if word.startswith("-"))
    return Script(tuple(w for w in calls[0] if "=" in w and not w.startswith("-")), options)


def _replaced(word: str, variables: dict[str, str]) -> str:
    def value(match: re.Match) -> str:
        name, default = match[1] or match[3], match[2]
        if name in variables:
            return variables[name]
        return f"${{oc.env:{name}}}" if default is None else f"${{oc.env:{name},{default}}}"

    return VARIABLE.sub(value, word)
