"""Stops a run whose judge is down. Abstentions are harmless one by one; a run made of them learns nothing."""

from __future__ import annotations

from collections import deque

from longvt_plugins.errors import JudgeError

from .config import BreakerConfig


class Breaker:
    """Counts the last verdicts. Once open it stays open: what failed so often needs a person."""

    def __init__(self, config: BreakerConfig | None):
        self._config = config
        self._failures: deque[bool] = deque(maxlen=config.window if config else 1)
        self._error: JudgeError | None = None

    def add(self, failed: bool, why: str = "") -> None:
        """Args: whether a verdict, with all its retries, failed, and why."""
        self._failures.append(failed)
        config, seen, failures = self._config, len(self._failures), sum(self._failures)
        if config and failed and seen >= config.at_least and failures > config.max_failures * seen:
            self._error = self._error or JudgeError(
                f"{failures} of the last {seen} verdicts",
                f"failed; at most {config.max_failures:.0%} may. The last one: {why}",
                "Look at the judge with 'longvt judge check URL'; judge.breaker sets the limit.",
            )

    def check(self) -> None:
        """
        Raises:
            JudgeError: the breaker is open.
        """
        if self._error:
            raise self._error
