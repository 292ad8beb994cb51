"""``LongVTDataset``: RL rows for verl (``data.custom_cls.path=pkg://longvt_plugins.datasets``), ours and LongVT's own.

On verl's RLHFDataset; different are the rows and the media. Rows of files with different schemas come in one shape
(``rl_rows``). A ``<video>`` becomes its overview, planned from the file's headers: what the media profile makes of it
(``tokens.profiles``), by reference. Pixels come from the clip store when a rollout needs them. ``crop_video`` gets the
row's own videos, unless the row may call no tool.

Before the run every medium is probed and every prompt counted, without decoding. What cannot be used or does not fit
stops the run there, with all such rows named.

Recipe options, under ``data.longvt``: ``video_root`` (below which media lie), ``profile`` (media profile),
``overview`` (fields of ``SamplingPolicy``; default: the profile's), ``shrink`` (show fewer, then smaller frames where
a prompt does not fit), ``picture_pixels`` (height x width of a picture at most).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from verl.utils.dataset.rl_dataset import RLHFDataset

from longvt_plugins.errors import DataError, LongVTError
from longvt_plugins.tokens.budget import check_suited, media_tokens, suited
from longvt_plugins.tokens.media import pixels_of
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.types import MediaRef
from longvt_plugins.video import SamplingPolicy, plan_overview, probe

from .media import Picture, picture_pixels, plan_picture
from .paths import local_path
from .rl_options import read_options
from .rl_rows import read_row
from .tables import RowFiles

TOOL = "crop_video"
SHOWN = 20


class LongVTDataset(RLHFDataset):
    def _read_files_and_tokenize(self) -> None:
        # Runs inside the base constructor. The base joins the files, which different structs do not survive.
        options, sampling = read_options(self.config)
        self.video_root = os.path.expanduser(options.get("video_root") or "")
        self.profile = profile_named(options.get("profile"))
        self.overview = replace(self._suited(self.profile.overview), **sampling)
        if self.processor is not None:
            check_suited(self.overview, self.processor.image_processor, "data.longvt.overview")
        self._shrink, self._picture_pixels = bool(options.get("shrink")), options.get("picture_pixels")
        self._plans: dict[tuple[str, SamplingPolicy], MediaRef] = {}
        self._shrunk: dict[int, SamplingPolicy] = {}
        self.dataframe = RowFiles(self.data_files, read_row)
        self._names_agents = self.dataframe.has_values("agent_name")
        # Rows in the files, and those of them that are looked at.
        self.rows = len(self.dataframe)
        if 0 < self.max_samples < self.rows:
            self.dataframe = self.dataframe.select(self._some())
        self.counted = len(self.dataframe)
        self.dataframe = self.maybe_filter_out_long_prompts(self.dataframe)

    def _suited(self, policy: SamplingPolicy) -> SamplingPolicy:
        return policy if self.processor is None else suited(policy, self.processor.image_processor)

    def maybe_filter_out_long_prompts(self, dataframe=None):
        """Probe every medium, count every prompt, and shrink, drop (``filter_overlong_prompts``) or stop.

        Raises:
            DataError: media that cannot be used, or prompts that do not fit.
        """
        bad, overlong, kept = [], [], []
        for item in range(len(dataframe)):
            try:
                fits = self._fit(dataframe[item])
            except LongVTError as error:
                bad.append(f"row {item}: {error}")
                continue
            (kept if fits is None else overlong).append(item if fits is None else f"row {item}: {fits}")
        self._stop_at(bad, "cannot be used", "Fix the paths (data.longvt.video_root) or drop these rows.")
        if overlong and not self.filter_overlong_prompts:
            remedy = "Lower data.longvt.overview, raise data.max_prompt_length, or set data.longvt.shrink=true."
            self._stop_at(overlong, f"do not fit into data.max_prompt_length={self.max_prompt_length}", remedy)
        if self._shrunk or overlong:
            print(
                f"longvt: of {len(dataframe)} prompts, {len(self._shrunk)} were shrunk and {len(overlong)} dropped to "
                f"fit into data.max_prompt_length={self.max_prompt_length}"
            )
        return dataframe.select(kept) if overlong else dataframe

    @property
    def agents(self) -> set[str]:
        """Agent loops that rows name; empty: the recipe's for all."""
        rows = self.dataframe if self._names_agents else ()
        return {row["agent_name"] for row in rows}

    @property
    def shrunk(self) -> int:
        """Prompts that show less than the overview, to fit."""
        return len(self._shrunk)

    def prompt_tokens(self, item: int) -> int:
        """Of a row's prompt, as the loop will build it."""
        row = self.dataframe[item]
        return self._tokens(row, self._shrunk.get(row["longvt_row"], self.overview))

    def __getitem__(self, item: int) -> dict[str, Any]:
        videos = [local_path(url, self.video_root) for url in self.dataframe[item].get(self.video_key) or ()]
        row = super().__getitem__(item)
        del row["longvt_row"]
        if not self._names_agents:
            del row["agent_name"]
        # As verl does: an empty selection is none.
        selected = row["extra_info"].get("tool_selection")
        may_crop = not selected or TOOL in selected
        row["tools_kwargs"] = {TOOL: {"create_kwargs": {"videos": videos}}} if videos and may_crop else {}
        return row

    def _build_messages(self, example: dict, key: str) -> list[dict]:
        policy = self._shrunk.get(example["longvt_row"], self.overview)
        messages = super()._build_messages(example, key)
        for message in messages:
            if isinstance(message["content"], list):
                message["content"] = self._expand(message["content"], policy)
        return messages

    def _expand(self, content: list[dict], policy: SamplingPolicy) -> list[dict]:
        return self.profile.prompt_content(map(self._local, content), lambda path: self._plan(path, policy))

    def _local(self, item: dict) -> dict:
        """The item with its medium's path on this node."""
        if item["type"] == "image":
            picture = self._picture(local_path(item["image"], self.video_root))
            return {"type": "image", "picture": picture.path, "size": list(picture.size)}
        if item["type"] == "video":
            return {"type": "video", "video": local_path(item["video"], self.video_root)}
        return item

    def _plan(self, path: str, policy: SamplingPolicy) -> MediaRef:
        key = path, policy
        if key not in self._plans:
            info = probe(path)
            plan = plan_overview(info, policy)
            self._plans[key] = info.frames(plan.times_s, plan.size)
        return self._plans[key]

    def _picture(self, path: str) -> Picture:
        bounds = picture_pixels(self.processor.image_processor, self._picture_pixels)
        return plan_picture(path, self.overview.patch, bounds)

    def _fit(self, row: dict) -> str | None:
        """``None`` if the row's prompt fits, after shrinking where that is wanted; else how long it is."""
        if self.processor is None and not (row.get(self.video_key) or row.get(self.image_key)):
            return None
        tokens = self._tokens(row, self.overview)
        if tokens <= self.max_prompt_length:
            return None
        if self._shrink and row.get(self.video_key):
            policy = self._smaller(lambda policy: self._tokens(row, policy) <= self.max_prompt_length)
            if policy is not None:
                self._shrunk[row["longvt_row"]] = policy
                return None
        return f"{tokens} tokens"

    def _smaller(self, fits: Callable[[SamplingPolicy], bool]) -> SamplingPolicy | None:
        """The overview with as many frames as fit; with the fewest, as large as fit."""
        policy = self.overview
        for name, least in (("max_frames", policy.min_frames), ("max_pixels", max(policy.min_pixels, policy.patch**2))):
            if fits(replace(policy, **{name: least})):
                low, high = least, getattr(policy, name)
                while high - low > 1:
                    middle = (low + high) // 2
                    low, high = (middle, high) if fits(replace(policy, **{name: middle})) else (low, middle)
                return replace(policy, **{name: low})
            policy = replace(policy, **{name: least})
        return None

    def _tokens(self, row: dict, policy: SamplingPolicy) -> int:
        """Tokens of the prompt as the loop will build it, counted without decoding."""
        shrunk = self._shrunk.get(row["longvt_row"])
        self._shrunk[row["longvt_row"]] = policy
        try:
            messages = self._build_messages(
                {**row, self.prompt_key: [dict(message) for message in row[self.prompt_key]]}, self.prompt_key
            )
        finally:
            del self._shrunk[row["longvt_row"]]
            if shrunk is not None:
                self._shrunk[row["longvt_row"]] = shrunk
        selected = row["extra_info"].get("tool_selection")
        tools = [t for t in self.tool_schemas or () if not selected or t["function"]["name"] in selected]
        renderer, tokenizer = self.processor or self.tokenizer, getattr(self.processor, "tokenizer", self.tokenizer)
        text = renderer.apply_chat_template(
            messages, tools=tools or None, add_generation_prompt=True, tokenize=False, **self.apply_chat_template_kwargs
        )
        return len(tokenizer.encode(text, add_special_tokens=False)) + media_tokens(messages, self.overview.patch)

    def _some(self) -> list[int]:
        """``max_samples`` rows, as the base chooses them."""
        if not self.shuffle:
            return list(range(self.max_samples))
        seed = () if self.seed is None else (self.seed,)
        return np.random.default_rng(*seed).choice(len(self.dataframe), self.max_samples, replace=False).tolist()

    def _stop_at(self, rows: Sequence[str], rule: str, remedy: str) -> None:
        if rows:
            listed = "\n".join(f"  {row}" for row in rows[:SHOWN]).removesuffix(".")
            raise DataError(f"{len(rows)} of the rows in {self.data_files}", f"{rule}:\n{listed}", remedy)

    @classmethod
    async def process_multi_modal_info(cls, messages: list[dict], image_patch_size, config):
        """What the agent loop feeds to processor and engine: images (PIL) and videos (with metadata), in order."""
        return await asyncio.to_thread(cls._process_multi_modal_info, messages, image_patch_size, config)

    @classmethod
    def _process_multi_modal_info(cls, messages: list[dict], image_patch_size, config):
        frames, videos = pixels_of(messages)
        frames = iter(frames)
        images = [
            Picture(item["picture"], tuple(item["size"])).pixels() if "picture" in item else next(frames)
            for message in messages
            for item in (message["content"] if isinstance(message["content"], list) else ())
            if item.get("type") == "image"
        ]
        return (
            [Image.fromarray(image) for image in images] or None,
            [(torch.from_numpy(frames.copy()).permute(0, 3, 1, 2), metadata) for frames, metadata in videos] or None,
            None,
        )
