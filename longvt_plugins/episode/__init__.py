"""The rules and the record of one trajectory, without an engine."""

from .calls import read_calls, write_call
from .episode import Episode, PlannedCall, Step
from .limits import Limits

__all__ = ["Episode", "Limits", "PlannedCall", "Step", "read_calls", "write_call"]
