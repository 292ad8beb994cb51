"""``LongVTDataset``: RL rows with videos for verl (``data.custom_cls.path=pkg://longvt_plugins.datasets``).

On verl's RLHFDataset; different is only the media. A ``<video>`` becomes its overview, planned from the
file's headers: what the media profile makes of it (``tokens.profiles``), by reference. Pixels come from the clip
store when a rollout needs them, so ``raw_prompt`` carries none. ``crop_video`` gets the row's own videos.

Every video is probed when the dataset is built. A bad one stops the run there, with all bad rows named.

Recipe options, under ``data.longvt``: ``video_root`` (prefix of relative paths), ``profile`` (name of the media
profile) and ``overview`` (fields of ``SamplingPolicy``; default: the profile's).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from verl.utils.dataset.rl_dataset import RLHFDataset

from longvt_plugins.errors import ConfigError, DataError, VideoError
from longvt_plugins.tokens.media import media_of, pixels_of
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.types import MediaRef
from longvt_plugins.video import SamplingPolicy, plan_overview, probe

TOOL = "crop_video"


class LongVTDataset(RLHFDataset):
    def _read_files_and_tokenize(self) -> None:
        # Runs inside the base constructor, before the base filters by length.
        options = dict(self.config.get("longvt") or {})
        self.video_root = os.path.expanduser(options.pop("video_root", None) or "")
        self.profile = profile_named(options.pop("profile", None))
        sampling = dict(options.pop("overview", None) or {})
        unknown = [*options, *(key for key in sampling if key not in SamplingPolicy.__dataclass_fields__)]
        if unknown:
            raise ConfigError(
                f"data.longvt keys {unknown}",
                f"known are video_root, profile, and overview with {list(SamplingPolicy.__dataclass_fields__)}",
                "Correct the recipe.",
            )
        self.overview = replace(self.profile.overview, **sampling)
        self._plans: dict[str, MediaRef] = {}
        super()._read_files_and_tokenize()

    def maybe_filter_out_long_prompts(self, dataframe=None):
        self._plan_every_video(dataframe)
        return super().maybe_filter_out_long_prompts(dataframe)

    def __getitem__(self, item: int) -> dict[str, Any]:
        videos = [self._path(video) for video in self.dataframe[item].get(self.video_key) or ()]
        row = super().__getitem__(item)
        if videos:
            row["tools_kwargs"] = {**(row["tools_kwargs"] or {}), TOOL: {"create_kwargs": {"videos": videos}}}
        return row

    def _build_messages(self, example: dict, key: str) -> list[dict]:
        messages = super()._build_messages(example, key)
        for message in messages:
            if isinstance(message["content"], list):
                message["content"] = self._expand(message["content"])
        return messages

    def _expand(self, content: list[dict]) -> list[dict]:
        expanded: list[dict] = []
        prompt = "".join(item.get("text", "") for item in content)
        sentences = ""
        for item in content:
            if item["type"] != "video":
                expanded.append(item)
                continue
            path = self._path(item["video"])
            expanded += self.profile.overview_content(self._plan(path))
            sentences += self.profile.path_sentence(path, prompt)
        return [*expanded, {"type": "text", "text": sentences}] if sentences else expanded

    def _path(self, video: str) -> str:
        return os.path.abspath(os.path.join(self.video_root, video))

    def _plan(self, path: str) -> MediaRef:
        if path not in self._plans:
            info = probe(path)
            plan = plan_overview(info, self.overview)
            self._plans[path] = MediaRef(path=path, identity=info.identity, times_s=plan.times_s, size=plan.size)
        return self._plans[path]

    def _plan_every_video(self, dataframe) -> None:
        bad: dict[str, str] = {}
        videos = dataframe[self.video_key] if self.video_key in dataframe.column_names else []
        for row, paths in enumerate(videos):
            for video in paths or ():
                try:
                    self._plan(self._path(video))
                except VideoError as error:
                    bad.setdefault(str(error), f"row {row}")
        if bad:
            listed = "\n".join(f"  {row}: {error}" for error, row in list(bad.items())[:20]).removesuffix(".")
            raise DataError(
                f"{len(bad)} of the videos in {self.data_files}",
                f"cannot be used:\n{listed}",
                "Fix the paths (data.longvt.video_root) or drop these rows.",
            )

    @classmethod
    async def process_multi_modal_info(cls, messages: list[dict], image_patch_size, config):
        """What the agent loop feeds to processor and engine: images (PIL) and videos (with metadata), in order."""
        return await asyncio.to_thread(cls._process_multi_modal_info, messages, image_patch_size, config)

    @classmethod
    def _process_multi_modal_info(cls, messages: list[dict], image_patch_size, config):
        if not media_of(messages):
            return super()._process_multi_modal_info(messages, image_patch_size, config)
        images, videos = pixels_of(messages)
        return (
            [Image.fromarray(image) for image in images] or None,
            [(torch.from_numpy(frames.copy()).permute(0, 3, 1, 2), metadata) for frames, metadata in videos] or None,
            None,
        )
