"""crop_video as verl's native tool (``class_name: longvt_plugins.tools.CropVideoTool``).

verl calls ``create``, ``execute`` and ``release`` once per call; state between them is the list of the
sample's videos, from ``extra_info.tools_kwargs.crop_video.create_kwargs``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from PIL import Image
from verl.tools.base_tool import BaseTool
from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import CropOutcome
from longvt_plugins.video import SamplingPolicy, clip_store

from .crop_video import CropOptions, crop_video


class CropVideoTool(BaseTool):
    """Configuration keys beside ``type``: the fields of ``SamplingPolicy``, for the crop window."""

    def __init__(self, config: dict, tool_schema: OpenAIFunctionToolSchema):
        super().__init__(config, tool_schema)
        sampling = {key: value for key, value in config.items() if key != "type"}
        try:
            self.options = CropOptions(policy=SamplingPolicy(**sampling))
        except TypeError as error:
            known = ", ".join(SamplingPolicy.__dataclass_fields__)
            raise ConfigError(f"crop_video config {sampling}", f"known keys are {known}", str(error)) from error
        self._videos: dict[str, tuple[str, ...]] = {}

    async def create(self, instance_id: str | None = None, **kwargs: Any) -> tuple[str, ToolResponse]:
        instance_id, response = await super().create(instance_id)
        self._videos[instance_id] = tuple((kwargs.get("create_kwargs") or {}).get("videos") or ())
        return instance_id, response

    async def execute(
        self, instance_id: str, parameters: dict[str, Any], **kwargs: Any
    ) -> tuple[ToolResponse, float, dict]:
        """Returns the frames as PIL images, a step reward of 0, and ``{"outcome": CropOutcome}``."""
        response, outcome = await asyncio.to_thread(self._crop, parameters, self._videos[instance_id])
        return response, 0.0, {"outcome": outcome}

    async def release(self, instance_id: str, **kwargs: Any) -> None:
        del self._videos[instance_id]

    def _crop(self, parameters: dict[str, Any], videos: tuple[str, ...]) -> tuple[ToolResponse, CropOutcome]:
        outcome = crop_video(parameters, videos, self.options)
        if outcome.media is None:
            return ToolResponse(text=outcome.reply), outcome
        images = [Image.fromarray(frame) for frame in clip_store.get(outcome.media)]
        return ToolResponse(text=outcome.reply, image=images), outcome
