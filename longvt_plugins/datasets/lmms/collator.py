"""Samples -> a padded batch.

Two things differ from lmms-engine's collator. Positions are part of the batch, so no model has to guess them. And a
batch without any picture or video gets one black token's worth of picture behind the end of its last sample: the
vision tower then takes part on every rank. Otherwise its gradients exist on some ranks only, and the reduction of
FSDP2 waits for ever. Nothing supervised comes after that picture, so no loss changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from longvt_plugins.tokens.labels import IGNORE

MEDIA = ("pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw")
Sample = dict[str, torch.Tensor]


@dataclass
class LongVTCollator:
    """Picklable: it travels to the DataLoader's workers.

    Attributes:
        pad_token_id: fills ``input_ids`` behind the end of a sample; ``attention_mask`` is 0 there.
        anchor: ``LongVTProcessor.anchor()``.
    """

    pad_token_id: int
    anchor: Sample

    def __call__(self, instances: Sequence[Sample | list[Sample]]) -> Sample:
        """Samples, or packs of them. A pack is its samples side by side: lmms-engine's ``use_rmpad`` then removes
        the padding and keeps them apart; without it a pack is only a padded batch."""
        samples = [s for item in instances for s in (item if isinstance(item, list) else [item])]
        if not any("pixel_values" in s or "pixel_values_videos" in s for s in samples):
            samples[-1] = self._with_anchor(samples[-1])
        lengths = [len(sample["input_ids"]) for sample in samples]
        batch = {
            "input_ids": _pad([s["input_ids"] for s in samples], self.pad_token_id),
            "labels": _pad([s["labels"] for s in samples], IGNORE),
            "attention_mask": _pad([torch.ones(length, dtype=torch.long) for length in lengths], 0),
            "position_ids": _pad([s["position_ids"].T for s in samples], 0).permute(2, 0, 1).contiguous(),
        }
        for key in MEDIA:
            parts = [sample[key] for sample in samples if key in sample]
            if parts:
                batch[key] = torch.cat(parts)
        return batch

    def _with_anchor(self, sample: Sample) -> Sample:
        ids, positions = self.anchor["input_ids"], sample["position_ids"]
        after = positions.max() + 1 + torch.arange(len(ids))
        return {
            **sample,
            "input_ids": torch.cat([sample["input_ids"], ids]),
            "labels": torch.cat([sample["labels"], torch.full_like(ids, IGNORE)]),
            "position_ids": torch.cat([positions, after.expand(3, -1)], dim=1),
            **{key: self.anchor[key] for key in MEDIA if key in self.anchor},
        }


def _pad(rows: list[torch.Tensor], value: int) -> torch.Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=value)
