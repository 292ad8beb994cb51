"""Which judge is asked, how, and for how long."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

ROUTER = "router"
"""As an endpoint: the reward router that verl hosts (``reward.reward_model``)."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EndpointConfig(_Closed):
    """An OpenAI-compatible server: vLLM, SGLang, OpenAI, or ``router``."""

    url: str
    """Base URL with ``/v1``."""
    concurrency: int = Field(32, gt=0)
    """Requests in flight at once, for each process that asks (verl runs ``reward.num_workers`` of them)."""
    api_key_env: str = "LONGVT_JUDGE_API_KEY"
    """Environment variable that holds the key. The key itself belongs in no recipe."""
    model: str | None = None
    """What this server calls the judge, where it differs."""


class BreakerConfig(_Closed):
    """Opens when more than ``max_failures`` of the last ``window`` verdicts failed, from ``at_least`` on."""

    window: int = Field(200, gt=0)
    at_least: int = Field(32, gt=0)
    max_failures: float = Field(0.5, gt=0, le=1)


class JudgeConfig(_Closed):
    endpoints: tuple[EndpointConfig, ...] = ()
    """All serve the same judge. Empty: verl's reward router."""
    model: str | None = None
    """``None``: the first model that an endpoint lists."""
    revision: str = ""
    """Which weights: part of the judge's id, and so of every cached verdict."""
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = Field(256, gt=0)
    structured: bool = True
    """Ask for a verdict by JSON schema. An endpoint that refuses is asked without; parsing is strict anyway."""
    prompt_file: str | None = None
    """A system prompt of your own; ``None``: the one shipped."""
    deadline_s: float = Field(120.0, gt=0)
    """For one verdict with all its retries, counted from its first request."""
    attempt_s: float = Field(30.0, gt=0)
    """For one request."""
    backoff_s: float = Field(0.5, gt=0)
    """Wait before the first retry; doubles, up to 10 s; a server's Retry-After wins."""
    unparsable_replies: int = Field(3, gt=0)
    """After so many replies without a verdict the judge abstains."""
    ledger: str | None = None
    """File of all verdicts, shared by processes and runs. ``None``: remembered by this process alone."""
    dollars_per_million: tuple[float, float] | None = None
    """Price of a million prompt and completion tokens."""
    breaker: BreakerConfig | None = BreakerConfig()

    @field_validator("endpoints", mode="before")
    @classmethod
    def _urls(cls, value: Any) -> Any:
        values = [value] if isinstance(value, str | dict) else value
        return [{"url": item} if isinstance(item, str) else item for item in values]

    @field_validator("endpoints")
    @classmethod
    def _known_scheme(cls, value: tuple[EndpointConfig, ...]) -> tuple[EndpointConfig, ...]:
        for endpoint in value:
            if endpoint.url != ROUTER and not endpoint.url.startswith(("http://", "https://")):
                raise ValueError(f"endpoint {endpoint.url!r} is neither a URL with http(s):// nor {ROUTER!r}")
        return value

    @property
    def judge_id(self) -> str:
        name = self.model or "unknown"
        return f"{name}@{self.revision}" if self.revision else name

    def with_router(self, address: str | None) -> JudgeConfig:
        """The same with ``router`` (or no endpoint at all) replaced by the address that verl passes."""
        if address is None:
            return self
        url = address if address.startswith("http") else f"http://{address}"
        url = url if url.rstrip("/").endswith("/v1") else f"{url.rstrip('/')}/v1"
        endpoints = self.endpoints or (EndpointConfig(url=ROUTER),)
        replaced = tuple(e.model_copy(update={"url": url}) if e.url == ROUTER else e for e in endpoints)
        return self.model_copy(update={"endpoints": replaced})
