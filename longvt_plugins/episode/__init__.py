"""The rules and the record of one trajectory, without an engine."""

from .episode import Episode, Limits

__all__ = ["Episode", "Limits"]
