"""The actor's side: the model that will be trained, on exactly the tensors that verl gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from longvt_plugins.upstream import verl_fp32_head

from .sample import Sample

FEATURES = ("pixel_values", "image_grid_thw", "pixel_values_videos", "video_grid_thw")


class Actor:
    """A Hugging Face checkpoint, evaluated as verl's FSDP engine evaluates it.

    Args:
        autocast: weights stay in float32 and products are taken in bfloat16, which is verl's default on a GPU.
    """

    def __init__(self, model: str, autocast: bool):
        from transformers import AutoModelForImageTextToText

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.autocast = autocast
        self.model = AutoModelForImageTextToText.from_pretrained(
            model, dtype=torch.float32, attn_implementation="sdpa"
        ).to(self.device)
        if autocast:
            verl_fp32_head.use(self.model)
        self.model.eval()

    def log_probs(self, sample: Sample, features: Mapping[str, Any] | None = None) -> np.ndarray:
        """float ``[response]``: log-probability of every response token.

        Args:
            features: instead of the sample's own.
        """
        features = sample.features if features is None else features
        ids = torch.from_numpy(sample.input_ids)[None].to(self.device)
        positions = np.concatenate([np.arange(len(sample.input_ids))[None], sample.position_ids])
        inputs = {name: features[name].to(self.device) for name in FEATURES if name in features}
        with torch.no_grad(), torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            logits = self.model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                position_ids=torch.from_numpy(positions)[:, None].to(self.device),
                use_cache=False,
                **inputs,
            ).logits
        response = len(sample.input_ids) - sample.prompt_length
        log_probs = torch.log_softmax(logits[0, -response - 1 : -1].float(), -1)
        return log_probs.gather(-1, ids[0, -response:, None])[:, 0].cpu().numpy()
