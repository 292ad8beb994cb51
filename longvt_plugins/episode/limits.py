"""How much one trajectory may do."""

from __future__ import annotations

from dataclasses import dataclass, fields

from longvt_plugins.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Bounds of one trajectory. Whoever reaches one is told so and gets one last turn to answer.

    Raises:
        ConfigError: a bound that leaves no trajectory.
    """

    max_calls: int = 5
    """Tool calls that can be read, in the whole trajectory."""
    max_calls_per_turn: int = 5
    """Of these, in one turn; they run concurrently. Further ones are refused, and do not count."""
    max_malformed: int = 3
    """Calls that cannot be read, or name no tool."""
    max_turns: int = 8
    """Turns of the policy, the answering one included."""
    max_frames: int | None = None
    """Frames from tools in the whole trajectory; ``None``: as many as there is room for."""

    def __post_init__(self):
        least = {"max_calls": 0, "max_calls_per_turn": 1, "max_malformed": 1, "max_turns": 1, "max_frames": 0}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "max_frames":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least[field.name]:
                rule = f"must be a whole number of at least {least[field.name]}"
                raise ConfigError(f"{field.name}={value!r}", rule, "Change it in rollout.custom.longvt.")
