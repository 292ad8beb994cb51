"""crop_video as verl's native tool (``class_name: longvt_plugins.tools.CropVideoTool``).

verl calls ``create``, ``execute`` and ``release`` once per call; state between them is the list of the
sample's videos, from ``extra_info.tools_kwargs.crop_video.create_kwargs``.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from PIL import Image
from verl.tools.base_tool import BaseTool
from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse

from longvt_plugins.types import MediaRef
from longvt_plugins.video import clip_store

from .crop_video import fault_outcome
from .executor import execute
from .options import Room, read_options

ROOM_KEY = "longvt_room"
"""Of ``create_kwargs``: the ``Room`` that a loop leaves for this call."""


class CropVideoTool(BaseTool):
    """Configuration keys beside ``type``: the fields of ``SamplingPolicy``, for the crop window, and those of
    ``CropOptions``; ``finer_than`` is a mapping with the overview's ``SamplingPolicy``."""

    def __init__(self, config: dict, tool_schema: OpenAIFunctionToolSchema):
        self.options = read_options(config)
        self._calls: dict[str, tuple[tuple[str, ...], Room | None]] = {}
        super().__init__(config, tool_schema)

    async def create(self, instance_id: str | None = None, **kwargs: Any) -> tuple[str, ToolResponse]:
        instance_id, response = await super().create(instance_id)
        given = kwargs.get("create_kwargs") or {}
        self._calls[instance_id] = tuple(given.get("videos") or ()), given.get(ROOM_KEY)
        return instance_id, response

    async def execute(
        self, instance_id: str, parameters: dict[str, Any], **kwargs: Any
    ) -> tuple[ToolResponse, float, dict]:
        """Returns the frames as PIL images, a step reward of 0, and ``{"outcome": CropOutcome}``."""
        videos, room = self._calls[instance_id]
        outcome = await execute(parameters, videos, replace(self.options, room=room))
        if outcome.media is not None:
            try:
                images = await asyncio.to_thread(images_of, outcome.media)
            except Exception as error:
                # verl would tell the policy what it says, the path of the file with it.
                outcome = fault_outcome(error, outcome.seconds)
        if outcome.media is None:
            return ToolResponse(text=outcome.reply), 0.0, {"outcome": outcome}
        return ToolResponse(text=outcome.text_with_times(), image=images), 0.0, {"outcome": outcome}

    async def release(self, instance_id: str, **kwargs: Any) -> None:
        del self._calls[instance_id]


def images_of(media: MediaRef) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in clip_store.get(media)]
