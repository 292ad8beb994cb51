"""crop_video as an MCP server on stdio: ``python -m longvt_plugins.tools.mcp_server VIDEO_OR_DIRECTORY ...``.

For clients that have no sample, such as lmms-eval, which starts a process per call: so imports stay light, and a
crop is decoded in a thread of this process. The caller names the file, but only what was named at the start, or
lies below it, is opened; links are resolved first. Standard output carries the protocol and nothing else.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from PIL import Image

from longvt_plugins import __version__
from longvt_plugins.errors import ConfigError, ToolCallError
from longvt_plugins.types import CropOutcome
from longvt_plugins.video import SamplingPolicy, clip_store

from .crop_video import CropOptions, fault_outcome
from .executor import CropExecutor

ROOTS_VARIABLE = "LONGVT_VIDEO_ROOT"
DESCRIPTION = (
    "Look at a window of the video again, more closely. Returns frames from start_time to end_time, "
    "and the time of each in seconds from the start of the video."
)
SCHEMA = {
    "type": "object",
    "properties": {
        "video_path": {"type": "string", "description": "Path of the video."},
        "start_time": {"type": "number", "description": "Start of the window in seconds."},
        "end_time": {"type": "number", "description": "End of the window in seconds."},
    },
    "required": ["video_path", "start_time", "end_time"],
}
MAX_PATH = 4096


def allowed_video(named: object, roots: Sequence[str]) -> str:
    """Real path of a file that the server was started for.

    Raises:
        ToolCallError: anything else.
    """
    if isinstance(named, str) and 0 < len(named) <= MAX_PATH and "\0" not in named:
        real = os.path.realpath(named)
        for root in map(os.path.realpath, roots):
            if real == root or real.startswith(root.rstrip(os.sep) + os.sep):
                return real
    raise ToolCallError("video_path", "is not a video of this server", "Give the path that the question names.")


async def call(arguments: dict, roots: Sequence[str], options: CropOptions, executor: CropExecutor) -> CropOutcome:
    """One call. Never raises."""
    try:
        video = allowed_video(arguments.get("video_path"), roots)
    except (ToolCallError, OSError, ValueError) as error:
        fault = ToolCallError("video_path", "is not a video of this server", "Give the path that the question names.")
        return fault_outcome(error if isinstance(error, ToolCallError) else fault)
    return await executor.crop({**arguments, "video_path": video}, [video], options)


def content(outcome: CropOutcome) -> list[types.TextContent | types.ImageContent]:
    """The reply, then each frame as PNG."""
    blocks: list[types.TextContent | types.ImageContent] = [
        types.TextContent(type="text", text=outcome.text_with_times())
    ]
    if outcome.media is not None:
        for picture in clip_store.get(outcome.media):
            buffer = io.BytesIO()
            # Lossless like the original's, at a third of its time.
            Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
            data = base64.b64encode(buffer.getvalue()).decode()
            blocks.append(types.ImageContent(type="image", data=data, mimeType="image/png"))
    return blocks


def server(roots: Sequence[str], options: CropOptions, executor: CropExecutor) -> Server:
    """MCP server whose one tool crops videos at or below ``roots``."""
    app: Server = Server("longvt", version=__version__)
    tool = types.Tool(name="crop_video", description=DESCRIPTION, inputSchema=SCHEMA)

    @app.list_tools()
    async def list_tools() -> list[types.Tool]:
        return [tool]

    # Arguments are judged by crop_video, whose reply says what is legal.
    @app.call_tool(validate_input=False)
    async def call_tool(name: str, arguments: dict) -> types.CallToolResult:
        outcome = await call(arguments, roots, options, executor)
        blocks = await anyio.to_thread.run_sync(content, outcome)
        return types.CallToolResult(content=blocks, isError=outcome.status != "ok")

    return app


async def serve(roots: Sequence[str], options: CropOptions, stdin: int, stdout: int) -> None:
    """Serve on two file descriptors until the client hangs up."""
    executor = CropExecutor(isolation="thread")
    app = server(roots, options, executor)
    reader = anyio.wrap_file(io.TextIOWrapper(os.fdopen(stdin, "rb"), encoding="utf-8", errors="replace"))
    writer = anyio.wrap_file(io.TextIOWrapper(os.fdopen(stdout, "wb"), encoding="utf-8"))
    async with stdio_server(reader, writer) as streams:
        await app.run(*streams, app.create_initialization_options())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m longvt_plugins.tools.mcp_server", description=DESCRIPTION)
    parser.add_argument("roots", nargs="*", help=f"videos, or directories of them (or ${ROOTS_VARIABLE})")
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--max-frames", type=int, default=128)
    parser.add_argument("--max-pixels", type=int, default=50_176, help="height x width of a frame at most")
    parser.add_argument("--patch", type=int, default=28, help="sides are multiples of it")
    parser.add_argument("--rule", choices=("display", "index"), default="display", help="index: LongVT's frames")
    args = parser.parse_args(argv)
    roots = args.roots or [root for root in os.environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if root]
    if not roots or not all(Path(root).exists() for root in roots):
        raise ConfigError(
            " ".join(roots) or "no roots", "the server needs videos or directories that exist", "Name them."
        )
    policy = SamplingPolicy(args.fps, 2, args.max_frames, args.max_pixels, args.patch, rule=args.rule)
    # A library that prints would break the protocol: descriptor 1 becomes stderr, and the client gets the copy.
    stdout = os.dup(1)
    os.dup2(2, 1)
    anyio.run(serve, roots, CropOptions(policy=policy), os.dup(0), stdout)


if __name__ == "__main__":
    main()
