"""One trajectory as the trainer gets it, and as the engine saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from longvt_plugins.types import Transcript


@dataclass(frozen=True)
class Generation:
    """One request to the engine."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    forced: bool
    """Whether the script wrote the tokens instead of the engine."""


@dataclass(frozen=True)
class Sample:
    """Arrays have no padding; ``length`` = prompt + response."""

    input_ids: np.ndarray
    """int64 ``[length]``."""
    prompt_length: int
    response_mask: np.ndarray
    """bool ``[response]``: the policy's tokens."""
    position_ids: np.ndarray
    """int64 ``[3, length]``: time, height, width, as the actor gets them."""
    features: dict[str, Any]
    """What the processor made of the frames, as torch tensors: ``pixel_values``, ``image_grid_thw``, ..."""
    transcript: Transcript
    generations: tuple[Generation, ...]
    sampled_log_probs: np.ndarray | None = None
    """float ``[response]``, of the tokens the engine sampled, as it reported them while sampling; NaN elsewhere."""
    engine_log_probs: np.ndarray | None = None
    """float ``[response]``: of every response token, as the engine scores the finished sequence."""
    rendered_ids: np.ndarray | None = None
    """The conversation up to the first turn that the engine sampled, rendered at once by the template."""

    def sampled(self) -> np.ndarray:
        """bool ``[response]``: tokens that the engine sampled, not the script."""
        marks = np.zeros(len(self.response_mask), bool)
        for generation in self.generations:
            if not generation.forced:
                start = len(generation.prompt_ids) - self.prompt_length
                marks[start : start + len(generation.token_ids)] = True
        return marks

    def grids(self, kind: str) -> np.ndarray:
        """int64 ``[n, 3]``: grids of the ``image`` or ``video`` features."""
        grid = self.features.get(f"{kind}_grid_thw")
        return np.zeros((0, 3), np.int64) if grid is None else np.asarray(grid)


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    detail: str
    figures: dict[str, float] = field(default_factory=dict)


def worst(findings: Sequence[Finding]) -> Finding:
    """The first that failed, or the last."""
    return next((finding for finding in findings if not finding.ok), findings[-1])
