"""The tool that crop_video replaces, as a native tool of verl: each crop through an MCP server on stdio, frames as PNG.

Rebuilt from its description, with ``reference_path.py`` as the server. verl 0.9.1 has no MCP tools of its own left.
``server: kept`` starts one server per rollout worker and keeps it; ``server: call`` starts one for each call. The
first is the kinder reading of the original, and the default: a start costs seconds of imports. Two things are kinder
than the original, so that the rest of a run stays comparable: the video comes from the row, not from the policy, and
frame times are told (evenly spaced, because this path does not return them).
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult
from PIL import Image
from verl.tools.base_tool import BaseTool
from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse

from longvt_plugins.errors import ConfigError
from longvt_plugins.types import CropOutcome

SERVER = Path(__file__).parent / "reference_path.py"


class McpCropTool(BaseTool):
    """Configuration: ``server`` (``kept`` or ``call``), ``fps``, ``max_frames``, ``max_pixels``."""

    def __init__(self, config: dict, tool_schema: OpenAIFunctionToolSchema):
        self.server = config.get("server", "kept")
        if self.server not in ("kept", "call"):
            raise ConfigError(f"server={self.server!r}", "must be 'kept' or 'call'", "Change it.")
        limits = [f"--{key.replace('_', '-')}={config[key]}" for key in ("fps", "max_frames", "max_pixels")]
        self.parameters = StdioServerParameters(
            command=sys.executable, args=[str(SERVER), "serve", *limits], env=dict(os.environ)
        )
        self._kept: _KeptServer | None = None
        self._videos: dict[str, str] = {}
        super().__init__(config, tool_schema)

    async def create(self, instance_id: str | None = None, **kwargs: Any) -> tuple[str, ToolResponse]:
        instance_id, response = await super().create(instance_id)
        self._videos[instance_id] = kwargs["create_kwargs"]["videos"][0]
        return instance_id, response

    async def execute(
        self, instance_id: str, parameters: dict[str, Any], **kwargs: Any
    ) -> tuple[ToolResponse, float, dict]:
        """As ``CropVideoTool.execute``."""
        started = time.monotonic()
        arguments = {**parameters, "video_path": self._videos[instance_id]}
        async with self._session() as session:
            result: CallToolResult = await session.call_tool("crop_video", arguments)
        images = [picture(block.data) for block in result.content if block.type == "image"]
        if result.isError or not images:
            reply = "No frames. " + "".join(block.text for block in result.content if block.type == "text")
            outcome = CropOutcome(status="refused", reply=reply, seconds=time.monotonic() - started)
            return ToolResponse(text=reply), 0.0, {"outcome": outcome}
        span_s = float(parameters["start_time"]), float(parameters["end_time"])
        times_s = tuple(float(t) for t in np.linspace(*span_s, len(images)))
        shown = ", ".join(f"{time_s:.2f}" for time_s in times_s)
        reply = f"{len(images)} frames of {span_s[0]:.2f} to {span_s[1]:.2f} s. Frame times in seconds: {shown}."
        outcome = CropOutcome(
            status="ok", reply=reply, span_s=span_s, times_s=times_s, seconds=time.monotonic() - started
        )
        return ToolResponse(text=reply, image=images), 0.0, {"outcome": outcome}

    async def release(self, instance_id: str, **kwargs: Any) -> None:
        del self._videos[instance_id]

    @asynccontextmanager
    async def _session(self):
        if self.server == "call":
            async with stdio_client(self.parameters) as streams, ClientSession(*streams) as session:
                await session.initialize()
                yield session
        else:
            if self._kept is None:
                self._kept = _KeptServer(self.parameters)
            yield await asyncio.shield(self._kept.session)


class _KeptServer:
    """A session that outlives its calls: entered, and for ever held open, by a task of its own."""

    def __init__(self, parameters: StdioServerParameters):
        self.session: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(parameters))

    async def _hold(self, parameters: StdioServerParameters) -> None:
        try:
            async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
                await session.initialize()
                self.session.set_result(session)
                await asyncio.Event().wait()
        except Exception as error:
            if not self.session.done():
                self.session.set_exception(error)


def picture(data: str) -> Image.Image:
    """An image from PNG in base64, decoded here and now."""
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    image.load()
    return image.convert("RGB")
