"""Is this endpoint a judge? Asks it 20 questions whose verdicts are known (``calibration.jsonl``).

They hold paraphrases, another language, numbers, half answers, hedging, an echoed question and instructions to the
judge. A judge that agrees on fewer than ``ENOUGH`` of them, or is fooled by an injection, will misgrade a run.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from longvt_plugins.types import Verdict

from .client import Judge
from .config import JudgeConfig
from .endpoint import RefusedFault, RetryableFault
from .prompt import render

CALIBRATION = Path(__file__).parent / "calibration.jsonl"
ENOUGH = 0.9


class Example(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    reference: str
    answer: str
    score: float


class Report(BaseModel):
    """What ``longvt judge check`` prints."""

    endpoint: str
    models: list[str] = []
    structured: bool = False
    """Whether it took the JSON schema, rather than being asked without."""
    fault: str = ""
    """Why it is no judge at all; empty if it is one."""
    agreement: float = 0.0
    """Share of the calibration questions with the right verdict; abstentions are disagreements."""
    abstained: int = 0
    latency_s: float = 0.0
    """Median of a verdict, 20 in flight."""
    seconds: float = 0.0
    """For all of them at once."""
    disagreements: list[dict[str, Any]] = []

    @property
    def ok(self) -> bool:
        return not self.fault and self.agreement >= ENOUGH


def examples() -> list[Example]:
    return [Example.model_validate_json(line) for line in CALIBRATION.read_text(encoding="utf-8").splitlines()]


async def check(config: JudgeConfig) -> Report:
    """Ask the first endpoint of ``config``. Verdicts are neither read from nor written to a ledger."""
    config = config.model_copy(update={"ledger": None, "breaker": None, "endpoints": config.endpoints[:1]})
    report = Report(endpoint=config.endpoints[0].url)
    async with Judge(config) as judge:
        endpoint = judge.endpoints[0]
        try:
            report.models = await endpoint.models()
        except RetryableFault as fault:
            report.fault = str(fault)
            return report
        if config.model and config.model not in report.models:
            report.fault = f"it serves {report.models}, not {config.model!r}"
            return report
        try:
            await endpoint.complete(config.model or report.models[0], render("Ready?", "yes", "yes"))
        except (RefusedFault, RetryableFault) as fault:
            report.fault = str(fault)
            return report
        report.structured = endpoint.structured
        asked = examples()
        started = time.monotonic()
        verdicts = await asyncio.gather(*(judge.verdict(e.question, e.reference, e.answer) for e in asked))
        report.seconds = time.monotonic() - started
        latencies_s = [entry.latency_s for entry in judge.ledger.entries()]
    right = [verdict.score == example.score for verdict, example in zip(verdicts, asked, strict=True)]
    report.agreement = sum(right) / len(right)
    report.abstained = sum(verdict.status == "abstain" for verdict in verdicts)
    report.latency_s = statistics.median(latencies_s) if latencies_s else 0.0
    report.disagreements = [
        _disagreement(example, verdict)
        for example, verdict, is_right in zip(asked, verdicts, right, strict=True)
        if not is_right
    ]
    return report


def _disagreement(example: Example, verdict: Verdict) -> dict[str, Any]:
    return {**example.model_dump(), "said": verdict.score, "reason": verdict.reason}
