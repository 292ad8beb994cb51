"""The command ``longvt``: one module per verb, loaded when it is called."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """What a verb found. ``ok`` decides the exit code (0 or 1); ``text`` is for people, ``data`` for ``--json``."""

    ok: bool
    text: str
    data: dict = field(default_factory=dict)
