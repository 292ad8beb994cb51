"""The one position rule: where each token stands in time, height and width (M-RoPE), for SFT, actor and rollout.

Text advances by one in all three axes. A picture or video occupies a grid that starts where the text before it
ended; the text after it starts at the greatest position of that grid plus one.

* Qwen2.5-VL: grid ``i`` of a video stands at ``int(i * seconds_per_grid * tokens_per_second)`` in time.
* Qwen3-VL: times are text, so a video is one grid of ``t = 1`` per pair of frames, like pictures.

This is what vLLM 0.24.0 computes. Hugging Face transformers 5.8.1 differs for the videos of Qwen2.5-VL: it truncates
``seconds_per_grid`` to an integer first, and starts the text after a video at ``max(height, width)`` of its grid.
lmms-engine 0.1.4 truncates too. All agree on pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from longvt_plugins.errors import ConfigError, DataError

Family = Literal["qwen2_5_vl", "qwen3_vl"]


@dataclass(frozen=True)
class PositionSpec:
    """What the rule needs to know about a model."""

    family: Family
    image_token_id: int
    video_token_id: int
    merge_size: int = 2
    """Patches per token along height and along width."""
    tokens_per_second: float = 2.0
    """Temporal positions per second. Qwen2.5-VL only."""

    @classmethod
    def of_config(cls, config: Any) -> PositionSpec:
        """From a Hugging Face model configuration (``Qwen2_5_VLConfig``, ``Qwen3VLConfig``).

        Raises:
            ConfigError: another family, whose positions follow another rule.
        """
        if config.model_type not in ("qwen2_5_vl", "qwen3_vl"):
            raise ConfigError(
                f"model_type {config.model_type!r}",
                "the position rule is known for qwen2_5_vl and qwen3_vl",
                "Choose a checkpoint of one of these families.",
            )
        return cls(
            family=config.model_type,
            image_token_id=config.image_token_id,
            video_token_id=config.video_token_id,
            merge_size=config.vision_config.spatial_merge_size,
            tokens_per_second=getattr(config.vision_config, "tokens_per_second", 1.0),
        )


def position_ids(
    input_ids: ArrayLike,
    image_grid_thw: ArrayLike | None,
    video_grid_thw: ArrayLike | None,
    seconds_per_grid: Sequence[float] | None,
    spec: PositionSpec,
) -> np.ndarray:
    """Positions of one sequence without padding.

    Args:
        input_ids: ``[length]``, placeholders expanded to one token per merged patch.
        image_grid_thw: ``[images, 3]``, patches in time (1), height, width; in order of appearance.
        video_grid_thw: ``[videos, 3]``.
        seconds_per_grid: seconds from one temporal grid to the next, for each video. Qwen3-VL does not need it.

    Returns:
        int64 ``[3, length]``: time, height, width.

    Raises:
        DataError: the placeholder tokens do not match the grids, or a video of Qwen2.5-VL has no seconds.
    """
    ids = np.asarray(input_ids)
    grids = {
        spec.image_token_id: _image_grids(image_grid_thw),
        spec.video_token_id: _video_grids(video_grid_thw, seconds_per_grid, spec),
    }
    out = np.empty((3, len(ids)), np.int64)
    media = np.flatnonzero((ids == spec.image_token_id) | (ids == spec.video_token_id))
    done = position = 0
    while (next_media := int(np.searchsorted(media, done))) < len(media):
        start = int(media[next_media])
        token = ids[start]
        kind = "image" if token == spec.image_token_id else "video"
        if not grids[token]:
            raise DataError(f"token {start} of {len(ids)}", f"there is no {kind} for this placeholder", _MATCH)
        (frames, height, width), step = grids[token].pop(0)
        grid = np.indices((frames, height // spec.merge_size, width // spec.merge_size)).reshape(3, -1)
        end = start + grid.shape[1]
        if end > len(ids) or (ids[start:end] != token).any():
            found = int(np.argmax(np.append(ids[start:end], -1) != token))
            raise DataError(
                f"{kind} at token {start}", f"needs {grid.shape[1]} placeholder tokens and has {found}", _MATCH
            )
        out[:, done:start] = np.arange(position, position + start - done)
        grid[0] = (grid[0] * step).astype(np.int64)
        out[:, start:end] = grid + (position + start - done)
        done, position = end, int(out[:, start:end].max()) + 1
    out[:, done:] = np.arange(position, position + len(ids) - done)
    left = {"image": len(grids[spec.image_token_id]), "video": len(grids[spec.video_token_id])}
    if any(left.values()):
        raise DataError(f"{len(ids)} tokens", f"these media have no placeholder: {left}", _MATCH)
    return out


_MATCH = "Build ids and grids from the same messages, and cut neither."


def _image_grids(grid_thw: ArrayLike | None) -> list[tuple[tuple[int, int, int], float]]:
    return [(tuple(grid), 1.0) for grid in _grids(grid_thw)]


def _video_grids(
    grid_thw: ArrayLike | None, seconds: Sequence[float] | None, spec: PositionSpec
) -> list[tuple[tuple[int, int, int], float]]:
    grids = _grids(grid_thw)
    if spec.family == "qwen3_vl":
        return [((1, height, width), 1.0) for frames, height, width in grids for _ in range(frames)]
    given = 0 if seconds is None else len(seconds)
    if given != len(grids):
        raise DataError(
            f"{len(grids)} videos", f"seconds per grid are known for {given}", "Pass the seconds of every video."
        )
    # Processors carry the seconds as float32: rounding elsewhere would move positions at ties.
    factors = [float(np.float32(value)) * spec.tokens_per_second for value in seconds or ()]
    return [(tuple(grid), factor) for grid, factor in zip(grids, factors, strict=True)]


def _grids(grid_thw: ArrayLike | None) -> list[list[int]]:
    return [] if grid_thw is None else np.asarray(grid_thw).reshape(-1, 3).tolist()


def seconds_per_grid(times_s: Sequence[float], temporal_patch: int = 2) -> float:
    """Seconds between temporal grids of a video whose frames stand at ``times_s``: the mean spacing of its frames
    times the frames per grid. 1 for a single frame, which has one grid."""
    if len(times_s) < 2:
        return 1.0
    return temporal_patch * (times_s[-1] - times_s[0]) / (len(times_s) - 1)
