"""One OpenAI-compatible server: its client, its load, its health.

Faults are sorted into three kinds: worth another try (the connection, a timeout, 408, 409, 429, 5xx, a body that is
no completion), a refusal (other 4xx: asking again changes nothing), and the one 400 that says the server knows no
structured output, after which it is asked without. After ``FAILURES`` faults in a row an endpoint is down: it gets no
requests until its pause is over and a probe of ``/models`` was answered.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from .config import EndpointConfig, JudgeConfig
from .prompt import SCHEMA, clean

FAILURES = 5
PAUSES_S = 1.0, 30.0
PROBE_S = 3.0
CUT = ("length", "content_filter")


class RetryableFault(Exception):
    """Another try may succeed. ``retry_after_s``: how long the server asked us to wait."""

    def __init__(self, what: str, retry_after_s: float | None = None):
        super().__init__(what)
        self.retry_after_s = retry_after_s


class RefusedFault(Exception):
    """The server declines this request."""


@dataclass(frozen=True)
class Reply:
    text: str
    prompt_tokens: int
    completion_tokens: int
    cut: str = ""
    """Why the server ended it early: ``length`` or ``content_filter``."""


class Endpoint:
    def __init__(self, config: EndpointConfig, judge: JudgeConfig):
        # 0.8 s of CPU: not before a judge is really asked.
        import openai

        self.url = config.url
        self.in_flight = 0
        self._openai, self._config, self._judge = openai, config, judge
        self.structured = judge.structured
        """Whether it is asked by JSON schema; off once it refused that."""
        self._slots = asyncio.Semaphore(config.concurrency)
        self._failures, self._pause_s, self._up_at = 0, PAUSES_S[0], 0.0
        self._probing = asyncio.Lock()
        self._client = openai.AsyncOpenAI(
            base_url=config.url,
            api_key=os.environ.get(config.api_key_env) or "none",
            timeout=judge.attempt_s,
            max_retries=0,
        )

    @property
    def load(self) -> float:
        """Requests in flight and waiting, as a share of what it takes at once."""
        return self.in_flight / self._config.concurrency

    @property
    def down_for_s(self) -> float:
        """How long it still rests; 0 when it may be asked."""
        return max(0.0, self._up_at - time.monotonic())

    async def models(self) -> list[str]:
        """
        Raises:
            RetryableFault: no answer, or one that is no list of models.
        """
        try:
            async with asyncio.timeout(min(PROBE_S, self._judge.attempt_s)):
                return [model.id async for model in self._client.models.list()]
        except (self._openai.OpenAIError, TimeoutError, ValueError, TypeError, AttributeError) as error:
            raise RetryableFault(f"/models: {_name(error)}") from error

    async def complete(self, model: str, messages: list[dict[str, str]]) -> Reply:
        """One request.

        Raises:
            RetryableFault, RefusedFault: no completion.
        """
        self.in_flight += 1
        try:
            async with self._slots:
                await self._probe_if_it_was_down()
                reply = await self._request(model, messages)
            self._failures, self._pause_s = 0, PAUSES_S[0]
            return reply
        except RetryableFault:
            self._failures += 1
            if self._failures >= FAILURES and not self.down_for_s:
                self._up_at = time.monotonic() + self._pause_s
                self._pause_s = min(2 * self._pause_s, PAUSES_S[1])
            raise
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        await self._client.close()

    async def _probe_if_it_was_down(self) -> None:
        if self._failures < FAILURES:
            return
        async with self._probing:
            if self._failures < FAILURES:
                return
            if self.down_for_s:
                raise RetryableFault("it rests")
            try:
                await self.models()
            except RetryableFault as fault:
                answered = isinstance(fault.__cause__, self._openai.APIStatusError)
                if not answered or fault.__cause__.status_code >= 500:
                    raise
            self._failures = 0

    async def _request(self, model: str, messages: list[dict[str, str]]) -> Reply:
        openai, judge = self._openai, self._judge
        extra = {"response_format": SCHEMA} if self.structured else {}
        try:
            async with asyncio.timeout(judge.attempt_s):
                completion = await self._client.chat.completions.create(
                    model=self._config.model or model,
                    messages=messages,
                    temperature=judge.temperature,
                    seed=judge.seed,
                    max_tokens=judge.max_tokens,
                    **extra,
                )
            choice, usage = completion.choices[0], completion.usage
            text = choice.message.content
            return Reply(
                text=text if isinstance(text, str) else "",
                prompt_tokens=_count(usage, "prompt_tokens"),
                completion_tokens=_count(usage, "completion_tokens"),
                cut=choice.finish_reason if choice.finish_reason in CUT else "",
            )
        except openai.APIStatusError as error:
            status = error.status_code
            if status in (400, 422) and extra and "response_format" in str(error):
                self.structured = False
                return await self._request(model, messages)
            if status in (408, 409, 429) or status >= 500:
                raise RetryableFault(f"HTTP {status}", _retry_after_s(error.response)) from error
            raise RefusedFault(clean(f"HTTP {status}: {str(error)[:300]}")) from error
        except (openai.OpenAIError, TimeoutError) as error:
            raise RetryableFault(_name(error)) from error
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            # A body that is no JSON, or JSON that is no completion.
            raise RetryableFault("no completion in the body") from error


def _count(usage: object, name: str) -> int:
    """Proxies leave it out, or send what is no count."""
    value = getattr(usage, name, None)
    return value if isinstance(value, int) else 0


def _name(error: BaseException) -> str:
    cause = error.__cause__
    return f"{type(error).__name__} ({type(cause).__name__})" if cause else type(error).__name__


def _retry_after_s(response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None
