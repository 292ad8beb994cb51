"""The command ``longvt``: one module per verb, loaded when it is called."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from longvt_plugins.errors import ConfigError


@dataclass(frozen=True)
class Outcome:
    """What a verb found. ``ok`` decides the exit code (0 or 1); ``text`` is for people, ``data`` for ``--json``."""

    ok: bool
    text: str
    data: dict = field(default_factory=dict)


def command_of(words: Sequence[str], verb: str) -> list[str]:
    """The command that a verb runs: what stands after ``--``.

    Raises:
        ConfigError: nothing does.
    """
    command = list(words[1:] if words[:1] == ["--"] else words)
    if not command:
        raise ConfigError(f"longvt {verb}", "needs a command after --", f"See longvt {verb} --help.")
    return command


def key_of(variable: str | None) -> str:
    """A server's API key, from the environment variable that ``--api-key-env`` names; without one, ``none``.

    Raises:
        ConfigError: the variable is not set.
    """
    key = os.environ.get(variable, "") if variable else "none"
    if not key:
        raise ConfigError(variable, "is not set", "Export it, or leave --api-key-env out.")
    return key


class Told:
    """Counts conversations as they end, and says so on stderr after every 50.

    Args:
        text: with ``{}`` for the number.
    """

    def __init__(self, text: str):
        self.text, self.count = text, 0

    def __call__(self, _: object) -> None:
        self.count += 1
        if self.count % 50 == 0:
            print(self.text.format(self.count), file=sys.stderr, flush=True)
