"""The path that crop_video replaces, rebuilt from its description, in process and as an MCP server on stdio.

A crop is: duration by OpenCV, ``qwen_vl_utils.fetch_video`` at 1 frame/s and 224 x 224 pixels at most, each frame as
PNG in base64. As a server: FastMCP with a synchronous tool, so one crop at a time, on its event loop.
"""

import base64
import io
import os
import sys

os.environ.setdefault("FORCE_QWENVL_VIDEO_READER", "decord")

import cv2
import torch
from PIL import Image
from qwen_vl_utils import vision_process

torch.set_num_threads(1)


def use_reader(name: str) -> None:
    """One of decord, torchcodec, torchvision."""
    vision_process.FORCE_QWENVL_VIDEO_READER = name
    vision_process.get_video_reader_backend.cache_clear()


def fetch(path: str, start_s: float | None, end_s: float | None, max_frames: int = 128) -> torch.Tensor:
    """float ``[n, 3, height, width]``, 0 to 255."""
    capture = cv2.VideoCapture(path)
    duration_s = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if end_s is not None and end_s > duration_s:
        raise ValueError("end_time is past the end of the video")
    window = {} if start_s is None else {"video_start": start_s, "video_end": end_s}
    limits = {"fps": 1, "min_frames": 2, "max_frames": max_frames, "min_pixels": 28 * 28, "max_pixels": 224 * 224}
    return vision_process.fetch_video({"video": path, **window, **limits})


def encode(frames: torch.Tensor) -> list[str]:
    """Each frame as PNG in base64."""
    encoded = []
    for frame in frames.permute(0, 2, 3, 1).to(torch.uint8).numpy():
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format="PNG")
        encoded.append(base64.b64encode(buffer.getvalue()).decode())
    return encoded


def crop(path: str, start_s: float, end_s: float) -> list[str]:
    return encode(fetch(path, start_s, end_s))


def serve() -> None:
    from mcp.server.fastmcp import FastMCP
    from mcp.types import ImageContent

    app = FastMCP("reference")

    @app.tool()
    def crop_video(video_path: str, start_time: float, end_time: float) -> list[ImageContent]:
        return [
            ImageContent(type="image", data=data, mimeType="image/png")
            for data in crop(video_path, start_time, end_time)
        ]

    app.run("stdio")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
