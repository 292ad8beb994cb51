"""Asks the judge. What comes back is a verdict or an abstention with its cause; a failure is never a score.

1. A question whose verdict the ledger holds costs nothing. Equal questions in flight cost one call.
2. The least loaded endpoint that is up is asked. A fault is retried, elsewhere if there is an elsewhere, after a
   growing pause, until ``deadline_s``. Waiting for a free slot does not count: a long queue is not a failure.
3. The reply is parsed strictly. A reply without a verdict is asked for again, a few times.
4. Every outcome is recorded before it is told, and counted by the breaker.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from typing import Any

from longvt_plugins.errors import ConfigError
from longvt_plugins.reward.ledger import LedgerEntry, open_ledger
from longvt_plugins.reward.verdict import parse_reply
from longvt_plugins.types import AbstainCause, Verdict

from .breaker import Breaker
from .config import ROUTER, JudgeConfig
from .endpoint import Endpoint, RefusedFault, Reply, RetryableFault
from .prompt import clean, prompt_hash, render

_LONGEST_PAUSE_S = 10.0
_ENDPOINT_PAUSE_S = 0.05


class Judge:
    """Belongs to the event loop in which it is first used. Close it with ``close()`` or ``async with``."""

    def __init__(self, config: JudgeConfig, like: Judge | None = None):
        """
        Args:
            like: of another event loop, whose ledger, breaker and model's name it shares.
        """
        if not config.endpoints or any(endpoint.url == ROUTER for endpoint in config.endpoints):
            raise ConfigError(
                "judge.endpoints",
                "names no server and verl passed no reward router",
                "Set judge.endpoints to a URL, or enable reward.reward_model.",
            )
        self.config = config
        self.ledger = like.ledger if like else open_ledger(config.ledger)
        self.calls = 0
        """Requests made, retries included."""
        self.breaker = like.breaker if like else Breaker(config.breaker)
        self._endpoints = [Endpoint(endpoint, config) for endpoint in config.endpoints]
        self._admission = asyncio.Semaphore(sum(endpoint.concurrency for endpoint in config.endpoints))
        self.model = like.model if like else config.model
        """``None`` until the first verdict, when the config names none."""
        self._naming: asyncio.Task[str] | None = None

    async def __aenter__(self) -> Judge:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._naming is not None:
            self._naming.cancel()
        for endpoint in self._endpoints:
            await endpoint.close()

    @property
    def endpoints(self) -> list[Endpoint]:
        return list(self._endpoints)

    @property
    def judge_id(self) -> str:
        """``model@revision``; the model is known after the first verdict when the config names none."""
        return self.config.model_copy(update={"model": self.model}).judge_id

    async def verdict(self, question: str, reference: str, answer: str) -> Verdict:
        """Does ``answer`` mean the same as ``reference``?

        Raises:
            JudgeError: the breaker is open.
        """
        self.breaker.check()
        question, reference, answer = clean(question), clean(reference), clean(answer)
        if not reference.strip():
            reason = "there is no reference to compare with"
            return Verdict(status="abstain", judge_id=self.judge_id, cause="no_reference", reason=reason)
        try:
            await self._name_model()
        except TimeoutError as error:
            self.breaker.add(failed=True, why=str(error))
            return self._abstention("unreachable", str(error))
        key = self._key(question, reference, answer)
        entry, hit = await self.ledger.once(key, lambda: self._asked(key, question, reference, answer))
        if not hit:
            self.breaker.add(failed=entry.verdict.status != "ok", why=entry.verdict.reason)
        return entry.verdict

    def _key(self, question: str, reference: str, answer: str) -> str:
        asked = [self.judge_id, prompt_hash(self.config.prompt_file), self._settings(), question, reference, answer]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self.config, name) for name in ("temperature", "seed", "max_tokens", "structured")}

    async def _name_model(self) -> None:
        """Ask once for all who wait.

        Raises:
            TimeoutError: no endpoint named one within ``deadline_s``.
        """
        if self.model is None:
            if self._naming is None or self._naming.done():
                self._naming = asyncio.create_task(self._named())
            self.model = await asyncio.shield(self._naming)

    async def _named(self) -> str:
        faults = 0
        fault = RetryableFault("no endpoint lists a model")
        try:
            async with asyncio.timeout(self.config.deadline_s):
                while True:
                    for endpoint in self._endpoints:
                        try:
                            models = await endpoint.models()
                        except RetryableFault as error:
                            fault = error
                            continue
                        if models:
                            return models[0]
                    await asyncio.sleep(_pause_s(self.config, faults))
                    faults += 1
        except TimeoutError:
            raise TimeoutError(f"no model was named in {self.config.deadline_s:g} s; {fault}") from fault

    async def _asked(self, key: str, question: str, reference: str, answer: str) -> LedgerEntry:
        call = _Call(self, render(question, reference, answer, self.config.prompt_file))
        async with self._admission:
            started = time.monotonic()
            verdict = await call.run()
            latency_s = time.monotonic() - started
        self.calls += call.attempts
        return LedgerEntry(
            key=key,
            time=round(time.time(), 3),
            verdict=verdict.model_copy(update={"key": key}),
            model=self.model or "",
            revision=self.config.revision,
            prompt=prompt_hash(self.config.prompt_file),
            settings=self._settings(),
            question=question,
            reference=reference,
            answer=answer,
            reply=clean(call.reply),
            endpoint=call.endpoint,
            latency_s=round(latency_s, 4),
            attempts=call.attempts,
            faults=tuple(call.faults),
            prompt_tokens=call.prompt_tokens,
            completion_tokens=call.completion_tokens,
            cost=self._cost(call),
        )

    def _cost(self, call: _Call) -> float | None:
        if self.config.dollars_per_million is None:
            return None
        for_prompt, for_completion = self.config.dollars_per_million
        return (call.prompt_tokens * for_prompt + call.completion_tokens * for_completion) / 1e6

    def _abstention(self, cause: AbstainCause, reason: str) -> Verdict:
        return Verdict(status="abstain", judge_id=self.judge_id, cause=cause, reason=f"{cause}: {reason}")


async def _least_loaded(endpoints: list[Endpoint], avoid: set[Endpoint]) -> Endpoint:
    """An endpoint that is up, rather none of ``avoid``; waits for one if all rest."""
    while True:
        up = [endpoint for endpoint in endpoints if not endpoint.down_for_s]
        if up:
            return min(up, key=lambda endpoint: (endpoint in avoid, endpoint.load))
        await asyncio.sleep(max(_ENDPOINT_PAUSE_S, min(endpoint.down_for_s for endpoint in endpoints)))


class _Call:
    """One question and its tries."""

    def __init__(self, judge: Judge, messages: list[dict[str, str]]):
        self._judge, self._messages = judge, messages
        self.attempts = self.prompt_tokens = self.completion_tokens = 0
        self.faults: list[str] = []
        self.reply = self.endpoint = ""

    async def run(self) -> Verdict:
        judge = self._judge
        try:
            async with asyncio.timeout(judge.config.deadline_s):
                return await self._until_decided()
        except TimeoutError:
            cause: AbstainCause = "deadline" if self.reply else "unreachable"
            faults = ", ".join(self.faults[-3:]) or "no answer"
            return judge._abstention(cause, f"{self.attempts} requests in {judge.config.deadline_s:g} s; {faults}")

    async def _until_decided(self) -> Verdict:
        judge, unparsable = self._judge, 0
        willing, tried = judge.endpoints, set()
        while True:
            endpoint = await _least_loaded(willing, avoid=tried)
            pause_s = _pause_s(judge.config, len(self.faults))
            try:
                reply = await self._try(endpoint)
            except RefusedFault as fault:
                self.faults.append(str(fault))
                willing.remove(endpoint)
                if not willing:
                    return judge._abstention("refused", str(fault))
                continue
            except RetryableFault as fault:
                self.faults.append(str(fault))
                if fault.retry_after_s is not None:
                    pause_s = fault.retry_after_s
            else:
                # Half a sentence is no verdict: "half right. Score: 0" may have gone on with ".5".
                score, reason = (None, "") if reply.cut else parse_reply(reply.text)
                if score is not None:
                    return Verdict(status="ok", score=score, judge_id=judge.judge_id, reason=clean(reason)[:500])
                unparsable += 1
                self.faults.append(f"reply cut off ({reply.cut})" if reply.cut else "unparsable reply")
                if unparsable >= judge.config.unparsable_replies:
                    why = f", the last one a {self.faults[-1]}" if reply.cut else ""
                    return judge._abstention("unparsable", f"{unparsable} replies without a verdict{why}")
            tried.add(endpoint)
            if all(other in tried or other.down_for_s for other in willing):
                await asyncio.sleep(pause_s)
                tried.clear()

    async def _try(self, endpoint: Endpoint) -> Reply:
        self.attempts += 1
        self.endpoint = endpoint.url
        reply = await endpoint.complete(self._judge.model, self._messages)
        self.reply = reply.text
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        return reply


def _pause_s(config: JudgeConfig, faults: int) -> float:
    """Doubles with every fault; spread, so that verdicts that failed together do not come back together."""
    return min(_LONGEST_PAUSE_S, config.backoff_s * 2 ** min(faults, 10)) * random.uniform(0.5, 1.0)
