"""The judge: ``longvt judge check`` in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.finding import Finding


def judge(url: str) -> Iterator[Finding | str]:
    """Args:
    url: base URL of an OpenAI-compatible server, with ``/v1``.

    Raises:
        ConfigError: ``url`` is none.
    """
    from longvt_plugins.reward.judge import JudgeConfig
    from longvt_plugins.reward.judge.check import ENOUGH, check

    try:
        config = JudgeConfig(endpoints=[url])
    except ValueError as error:
        raise ConfigError(url, str(error), "Pass a URL like http://host:8000/v1.") from error
    report = asyncio.run(check(config))
    if report.fault:
        why = f"is no judge: {report.fault}"
        yield Finding("judge", url, why, f"Start one (recipes/judge/), then: longvt judge check {url}")
    elif report.agreement < ENOUGH:
        why = f"agrees with {report.agreement:.0%} of 22 known verdicts, {ENOUGH:.0%} are needed"
        yield Finding("judge", url, why, f"Use a stronger model. What it got wrong: longvt judge check {url}")
    else:
        yield f"{url}: {report.agreement:.0%} of 22 known verdicts, {report.latency_s:.2f} s each"
