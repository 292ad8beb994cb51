"""One error tree. Every error states the value it met, the rule it broke and the remedy.

Each class also inherits the standard-library type it specialises, so callers that do not know this
package still catch it. All are picklable: they cross Ray actors and process pools.
"""

from __future__ import annotations


class LongVTError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        value: what was met, as the user would recognise it (a path, a key, a number).
        rule: what was expected instead.
        remedy: what to do about it.
    """

    def __init__(self, value: object, rule: str, remedy: str):
        self.value = value if isinstance(value, str) else repr(value)
        self.rule = rule
        self.remedy = remedy
        super().__init__(self.value, rule, remedy)

    def __reduce__(self):
        return type(self), (self.value, self.rule, self.remedy)

    def __str__(self) -> str:
        return f"{self.value}: {self.rule}. {self.remedy}"

    @property
    def kind(self) -> str:
        """Stable name used in counters, records and metrics."""
        return type(self).__name__


class ConfigError(LongVTError, ValueError):
    """A recipe, command line or option that cannot work."""


class PluginError(LongVTError, ImportError):
    """A registered part that cannot be located or loaded."""


class DataError(LongVTError, ValueError):
    """A dataset row that breaks the schema."""


class VideoError(LongVTError):
    """A video that does not yield the frames asked for."""


class VideoOpenError(VideoError, OSError):
    """Missing, unreadable, or not a video."""


class VideoDecodeError(VideoError, RuntimeError):
    """Opens, but the frames asked for do not come out."""


class VideoRangeError(VideoError, ValueError):
    """A time window outside the video, or none at all."""


class ToolCallError(LongVTError, ValueError):
    """A tool call the policy wrote that cannot be executed as written."""


class ToolClosedError(LongVTError, RuntimeError):
    """A tool call that met an executor which is closed, or was closed under it."""


class JudgeError(LongVTError, RuntimeError):
    """A judge that gives no verdict where one was demanded, or that fails too often to go on."""


class RolloutError(LongVTError, RuntimeError):
    """Rollouts that all end in faults: the engine is gone, or nothing can be read."""


class NoRoomError(LongVTError, ValueError):
    """A crop for which a conversation has no room left."""


class PromptTooLongError(LongVTError, ValueError):
    """A prompt that does not fit, and cannot be cut without losing its frames."""


class ProfileError(LongVTError, ValueError):
    """A media profile that is unknown, not offered for a model, or mixed with another."""


class CheckError(LongVTError, RuntimeError):
    """A check of the doctor that ended without a result."""


class StalledRunError(LongVTError, TimeoutError):
    """A training run that stopped making progress."""


class StageError(LongVTError, RuntimeError):
    """A stage of a run that failed, or a server that it needs; the stage is not stamped as done."""
