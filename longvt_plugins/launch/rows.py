"""The recipe's own rows, as ``LongVTDataset`` will count them: from headers and texts, nothing decoded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from longvt_plugins.errors import ConfigError, LongVTError

from .compose import files_of
from .finding import Finding

if TYPE_CHECKING:
    from longvt_plugins.datasets import LongVTDataset

SAMPLE = 200
"""Rows of a file list that are counted, chosen by ``data.seed``."""


def open_rows(recipe: DictConfig, split: str, checkpoint: str, rows: int = -1) -> LongVTDataset:
    """The dataset of ``data.{split}_files`` for a model, with at most ``rows`` rows.

    Raises:
        DataError: rows that cannot be used, or do not fit.
        ConfigError: ``checkpoint`` has no processor.
    """
    from transformers import AutoProcessor

    from longvt_plugins.datasets import LongVTDataset

    try:
        processor = AutoProcessor.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        why = f"has no processor that can be read ({str(error).splitlines()[0]})"
        raise ConfigError(checkpoint, why, "Name a checkpoint with tokenizer and processor.") from error
    if recipe.actor_rollout_ref.model.custom_chat_template:
        processor.chat_template = recipe.actor_rollout_ref.model.custom_chat_template
    return LongVTDataset(files_of(recipe, split), processor.tokenizer, recipe.data, processor, max_samples=rows)


def count_rows(recipe: DictConfig, notes: list[str]) -> Iterator[Finding]:
    """Rows that do not fit or cannot be used, where data and checkpoint are here; ``notes`` gets what was counted."""
    checkpoint = Path(str(recipe.actor_rollout_ref.model.path)).expanduser()
    if not checkpoint.is_dir() or recipe.data.custom_cls.path != "pkg://longvt_plugins.datasets":
        notes.append("rows: not counted, since the checkpoint's tokenizer is not here")
        return
    for split in ("train", "val"):
        files = files_of(recipe, split)
        if not files or not all(Path(file).expanduser().is_file() for file in files):
            notes.append(f"{split} rows: not counted, since the files are not here")
            continue
        try:
            # verl prints tool schemas and counts.
            with redirect_stdout(sys.stderr):
                dataset = open_rows(recipe, split, str(checkpoint), SAMPLE)
        except LongVTError as error:
            what = f"data.{split}_files: {error.value}"
            yield Finding("rows", what, f"{error.rule} ({SAMPLE} rows are looked at, at most)", error.remedy)
            continue
        except (OSError, ValueError) as error:
            yield Finding("rows", f"data.{split}_files", f"cannot be read ({error})", "Correct the files.")
            continue
        tokens = [dataset.prompt_tokens(item) for item in range(len(dataset))]
        if not tokens:
            yield Finding("rows", f"data.{split}_files", "no row is left", "See data.filter_overlong_prompts.")
            continue
        notes.append(
            f"{split} rows: {len(tokens)} counted{', a sample' if dataset.counted < dataset.rows else ''}, prompts of "
            f"{min(tokens)} to {max(tokens)} tokens, median {median(tokens):.0f}; data.max_prompt_length is "
            f"{recipe.data.max_prompt_length}; {dataset.shrunk} shrunk, {dataset.counted - len(tokens)} dropped to fit"
        )
