"""The judge: a language model that compares an answer with a reference. It decides, or abstains; it never lies."""

from .client import Judge
from .config import BreakerConfig, EndpointConfig, JudgeConfig

__all__ = ["BreakerConfig", "EndpointConfig", "Judge", "JudgeConfig"]
