"""A planned conversation -> tokens, labels, positions and pixels of one SFT sample.

lmms-engine's own processors supervise tool turns and control tokens of every role, drop calls, and leave positions
to a model that then has none. Here the template is the rollout's file, labels come from ``tokens.labels``, positions
from ``tokens.positions``, and frames arrive at the size they were planned with: the image processor only cuts patches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lmms_engine.datasets.processor.qwen2_5_vl_processor import Qwen2_5_VLDataProcessor
from lmms_engine.datasets.processor.qwen3_vl_processor import Qwen3_VLDataProcessor
from transformers import AutoConfig

from longvt_plugins import tokens
from longvt_plugins.datasets.media import PlannedMedia
from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.tokens.budget import patch_of
from longvt_plugins.tokens.labels import split_turns, token_labels
from longvt_plugins.tokens.media import TICKS_PER_S
from longvt_plugins.tokens.positions import PositionSpec, position_ids, seconds_per_grid
from longvt_plugins.tokens.profiles import MediaProfile, check_stamp, stamp
from longvt_plugins.types import MediaRef
from longvt_plugins.video import clip_store

START, END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
_PLACE = re.compile(re.escape(IMAGE) + "|" + re.escape(START + VIDEO + END))


class LongVTProcessor:
    """Mixed in before lmms-engine's processor of a family, which loads the checkpoint's Hugging Face processor."""

    family: str
    profile: MediaProfile

    def build(self) -> None:
        """Load processor, template and position rule.

        Raises:
            ConfigError: the checkpoint is of another family.
        """
        self.processor = self._build_processor()
        self.spec = PositionSpec.of_config(AutoConfig.from_pretrained(self.config.processor_name))
        if self.spec.family != self.family:
            raise ConfigError(
                f"processor_type longvt_{self.family} with {self.config.processor_name}",
                f"the checkpoint is a {self.spec.family}",
                f"Set processor_type: longvt_{self.spec.family}.",
            )
        self.processor.chat_template = Path(tokens.__path__[0], "templates", f"{self.family}.jinja").read_text()
        self.processor.tokenizer.chat_template = self.processor.chat_template

    @property
    def patch(self) -> int:
        """Sides of what is shown are multiples of it, in pixels."""
        return patch_of(self.processor.image_processor)

    def use_profile(self, profile: MediaProfile) -> None:
        """Name the media profile that is taught.

        Raises:
            ProfileError: the checkpoint to start from was made with another.
        """
        if os.path.isdir(self.config.processor_name):
            check_stamp(self.config.processor_name, profile.name)
        self.profile = profile

    def save_pretrained(self, save_directory: str) -> None:
        """With template and media profile that were trained with: a checkpoint is served as it was taught."""
        self.processor.save_pretrained(save_directory)
        stamp(save_directory, self.profile.name)

    def process_chain(self, media: PlannedMedia, tools: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """One sample.

        Returns:
            ``input_ids``, ``labels`` int64 ``[length]``; ``position_ids`` int64 ``[3, length]``; and where there are
            media, ``pixel_values`` with ``image_grid_thw``, ``pixel_values_videos`` with ``video_grid_thw``.

        Raises:
            DataError, VideoError: a medium does not come out.
        """
        sample = self._images([np.array(picture) for picture in media.image_pixels()]) | self._videos(media.videos)
        grids = {kind: sample.get(f"{kind}_grid_thw") for kind in ("image", "video")}
        segments = split_turns(media.messages, lambda messages, prompt: self._render(messages, prompt, tools))
        places = self._places(grids["image"]), self._video_places(grids["video"], media.videos)
        segments = [s if s.own else type(s)(self._expand(s.text, *places), own=False) for s in segments]
        ids, labels = token_labels(segments, self._encode)
        temporal = self.processor.video_processor.temporal_patch_size
        seconds = [seconds_per_grid(ref.times_s, temporal) for ref in media.videos]
        positions = position_ids(ids, grids["image"], grids["video"], seconds, self.spec)
        return {
            "input_ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "position_ids": torch.from_numpy(positions),
            **sample,
        }

    def anchor(self) -> dict[str, torch.Tensor]:
        """The smallest picture, of one token, and its ids: what a batch without media is given (see the collator)."""
        black = np.zeros((self.patch, self.patch, 3), np.uint8)
        ids = self.processor.tokenizer.convert_tokens_to_ids([START, IMAGE, END])
        return {"input_ids": torch.tensor(ids), **self._images([black])}

    def _encode(self, text: str) -> list[int]:
        return self.processor.tokenizer.encode(text, add_special_tokens=False)

    def _render(self, messages, add_generation_prompt: bool, tools) -> str:
        return self.processor.apply_chat_template(
            messages, tools=list(tools) or None, tokenize=False, add_generation_prompt=add_generation_prompt
        )

    def _images(self, pictures: list[np.ndarray]) -> dict[str, torch.Tensor]:
        if not pictures:
            return {}
        done = self.processor.image_processor(
            images=pictures, do_resize=False, input_data_format="channels_last", return_tensors="pt"
        )
        return {"pixel_values": done["pixel_values"], "image_grid_thw": done["image_grid_thw"]}

    def _videos(self, videos: Sequence[MediaRef]) -> dict[str, torch.Tensor]:
        if not videos:
            return {}
        frames = [torch.from_numpy(np.array(clip_store.get(ref))).permute(0, 3, 1, 2) for ref in videos]
        done = self.processor.video_processor(
            videos=frames, do_resize=False, do_sample_frames=False, return_tensors="pt"
        )
        return {"pixel_values_videos": done["pixel_values_videos"], "video_grid_thw": done["video_grid_thw"]}

    def _places(self, grids: torch.Tensor | None) -> Iterator[str]:
        for frames, height, width in [] if grids is None else grids.tolist():
            yield IMAGE * (frames * height * width // self.spec.merge_size**2)

    def _video_places(self, grids: torch.Tensor | None, videos: Sequence[MediaRef]) -> Iterator[str]:
        raise NotImplementedError

    def _expand(self, text: str, images: Iterator[str], videos: Iterator[str]) -> str:
        def fill(place: re.Match) -> str:
            filled = next(images if place.group() == IMAGE else videos, None)
            if filled is None:
                raise DataError(place.group(), "more placeholders than media", "Correct the row.")
            return filled

        return _PLACE.sub(fill, text)


class LongVTQwen2_5VLProcessor(LongVTProcessor, Qwen2_5_VLDataProcessor):
    family = "qwen2_5_vl"

    def _video_places(self, grids, videos):
        for frames, height, width in [] if grids is None else grids.tolist():
            yield START + VIDEO * (frames * height * width // self.spec.merge_size**2) + END


class LongVTQwen3VLProcessor(LongVTProcessor, Qwen3_VLDataProcessor):
    family = "qwen3_vl"

    def _video_places(self, grids, videos):
        """Each pair of frames after its mean time, as Qwen3-VL's own processor writes it."""
        pair = self.processor.video_processor.temporal_patch_size
        for (frames, height, width), ref in zip([] if grids is None else grids.tolist(), videos, strict=True):
            times_s = [round(time_s * TICKS_PER_S) / TICKS_PER_S for time_s in ref.times_s]
            times_s += times_s[-1:] * (-len(times_s) % pair)
            tokens_each = height * width // self.spec.merge_size**2
            yield "".join(
                f"<{(times_s[pair * i] + times_s[pair * i + pair - 1]) / 2:.1f} seconds>"
                + (START + VIDEO * tokens_each + END)
                for i in range(frames)
            )
