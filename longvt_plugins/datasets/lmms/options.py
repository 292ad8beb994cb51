"""``dataset_config`` of an lmms-engine recipe -> options; settings known to go silently wrong are refused.

Ours stand under ``dataset_config.extra_kwargs.longvt``: ``profile`` (a media profile), ``picture_pixels`` (at most),
``overview`` (fields of ``SamplingPolicy``), ``tools`` (a tool YAML, shown to rows whose ``tools`` is null; none by
default), ``max_bad_rows`` (share of rows that may be bad, 0.01; of each worker's as ``bad_rows_limit`` says),
``bad_rows`` (a folder for the list of them). lmms-engine's ``fps``, ``video_max_frames``, ``video_max_pixels``,
``video_min_pixels`` are the overview's defaults, so a LongVT recipe needs no more than the new ``dataset_type`` and
``processor_type``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from longvt_plugins.datasets.media import MediaOptions, picture_pixels
from longvt_plugins.errors import ConfigError
from longvt_plugins.tokens.budget import check_suited, patch_of
from longvt_plugins.tokens.profiles import MediaProfile, profile_named
from longvt_plugins.tools.tool_file import read_schemas
from longvt_plugins.video import SamplingPolicy

KEYS = ("profile", "picture_pixels", "overview", "tools", "max_bad_rows", "bad_rows")


@dataclass(frozen=True)
class SFTOptions:
    media: MediaOptions
    tools: list[dict[str, Any]] = field(default_factory=list)
    max_bad_rows: float = 0.01
    bad_rows: str | None = None

    @classmethod
    def of(cls, dataset_config, image_processor: Any) -> SFTOptions:
        """From lmms-engine's ``DatasetConfig``.

        Args:
            image_processor: the checkpoint's, to whose patch and bounds frames and pictures keep.

        Raises:
            ConfigError: an unknown key or a value that cannot work: an unknown profile, or frames that no rollout or
                server could show, as the checkpoint's processor would resize them.
        """
        given = dict((dataset_config.extra_kwargs or {}).get("longvt") or {})
        unknown = sorted(given.keys() - set(KEYS))
        if unknown:
            raise ConfigError(f"extra_kwargs.longvt keys {unknown}", f"known are {', '.join(KEYS)}", "Correct them.")
        share = given.get("max_bad_rows", 0.01)
        if not (isinstance(share, int | float) and 0 <= share <= 1):
            raise ConfigError(f"max_bad_rows={share!r}", "must be a share between 0 and 1", "Change it.")
        profile = profile_named(given.get("profile"))
        overview = _overview(dataset_config, profile, dict(given.get("overview") or {}), patch_of(image_processor))
        check_suited(overview, image_processor, "video_min_pixels, video_max_pixels or overview")
        return cls(
            media=MediaOptions(
                profile=profile,
                overview=overview,
                picture_pixels=picture_pixels(image_processor, given.get("picture_pixels")),
            ),
            tools=read_schemas(os.path.expanduser(given["tools"])) if given.get("tools") else [],
            max_bad_rows=float(share),
            bad_rows=given.get("bad_rows"),
        )


def _overview(dataset_config, profile: MediaProfile, given: dict[str, Any], patch: int) -> SamplingPolicy:
    unknown = sorted(given.keys() - set(SamplingPolicy.__dataclass_fields__))
    if unknown:
        known = ", ".join(SamplingPolicy.__dataclass_fields__)
        raise ConfigError(f"overview keys {unknown}", f"known are {known}", "Correct them.")
    if given.setdefault("patch", patch) != patch:
        raise ConfigError(f"overview.patch={given['patch']}", f"this checkpoint needs {patch}", "Remove the key.")
    if dataset_config.video_sampling_strategy != "fps":
        raise ConfigError(
            f"video_sampling_strategy={dataset_config.video_sampling_strategy!r}",
            "the dataset longvt samples by fps",
            "Set fps, and bound the count with extra_kwargs.longvt.overview.min_frames and max_frames.",
        )
    given.setdefault("fps", float(dataset_config.fps))
    given.setdefault("max_frames", dataset_config.video_max_frames)
    given.setdefault("max_pixels", dataset_config.video_max_pixels)
    given.setdefault("min_pixels", min(dataset_config.video_min_pixels, given["max_pixels"]))
    given.setdefault("min_frames", min(2, given["max_frames"]))
    return replace(profile.overview, **given)


def refuse_silently_wrong(config: Any) -> None:
    """Stop a run whose settings lmms-engine 0.1.4 accepts and then does something else.

    Args:
        config: lmms-engine's ``TrainerConfig``.

    Raises:
        ConfigError: with the reason.
    """
    if config.dataset_config.dataset_type != "longvt":
        return
    args = config.trainer_args
    parallel = max(args.sp_ulysses_degree or 1, args.tp_degree or 1, args.ep_degree or 1)
    rules: Mapping[str, tuple[bool, str, str]] = {
        f"trainer_type={config.trainer_type!r}": (
            config.trainer_type != "fsdp2_trainer",
            "hf_trainer splits pixels across ranks by rows and fails at its closing save",
            "Set trainer_type: fsdp2_trainer.",
        ),
        "use_rmpad without use_liger_kernel": (
            bool(args.use_rmpad) and not args.use_liger_kernel,
            "rmpad is registered by the liger patch alone; without it the setting is skipped with a log line",
            "Set trainer_args.use_liger_kernel: true, or use_rmpad: false.",
        ),
        "use_liger_kernel without use_rmpad": (
            bool(args.use_liger_kernel) and not args.use_rmpad,
            "its loss needs the indices that only the rmpad forward returns",
            "Set trainer_args.use_rmpad: true, or use_liger_kernel: false.",
        ),
        f"sp, tp or ep degree {parallel} without use_rmpad": (
            parallel > 1 and not args.use_rmpad,
            "the parallel forward is part of the rmpad patch; without it a group trains on one batch again and again",
            "Set use_rmpad and use_liger_kernel, or the degree to 1.",
        ),
        "bf16=False": (
            not args.bf16,
            "fsdp2_trainer then trains in float16 without loss scaling",
            "Set trainer_args.bf16: true.",
        ),
        f"max_steps={args.max_steps}": (
            args.max_steps <= 0,
            "the stream of samples is endless, so the steps must be said",
            f"Set trainer_args.max_steps, for one epoch: rows / {args.per_device_train_batch_size} / processes.",
        ),
        "eval_dataset_path": (
            config.dataset_config.eval_dataset_path is not None,
            "fsdp2_trainer never evaluates on it",
            "Remove it, and score checkpoints with an evaluation.",
        ),
    }
    for value, (broken, rule, remedy) in rules.items():
        if broken:
            raise ConfigError(value, rule, remedy)


def bad_rows_limit(rows: int, consumers: int, share: float, taken: int) -> int:
    """How many bad rows one consumer may have met: the share of its part of the rows, or of those it took if more, and
    beside it what chance may deal to one of many (three standard deviations and two rows). Never more than the share
    of all rows: so a consumer that took as many as there are, or is alone, is held to the share itself.

    Args:
        taken: rows it took so far. Epochs deal rows anew, so in time it meets all of them.
    """
    expected = share * max(math.ceil(rows / consumers), taken)
    return math.floor(min(share * rows, expected + 3 * math.sqrt(expected) + 2))
