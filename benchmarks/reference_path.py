"""The path that crop_video replaces, rebuilt from its description, in process and as an MCP server on stdio.

A crop is: duration by OpenCV, ``qwen_vl_utils.fetch_video`` at 1 frame/s and 224 x 224 pixels at most, each frame as
PNG in base64. As a server: FastMCP with a synchronous tool, so one crop at a time, on its event loop. Other sizes than
the original's can be asked for, so that both paths show a policy the same number of frames.

    python benchmarks/reference_path.py serve [--fps 1] [--max-frames 128] [--max-pixels 50176]
"""

import argparse
import base64
import io
import os

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


def fetch(
    path: str,
    start_s: float | None,
    end_s: float | None,
    max_frames: int = 128,
    fps: float = 1,
    max_pixels: int = 224 * 224,
) -> torch.Tensor:
    """float ``[n, 3, height, width]``, 0 to 255."""
    capture = cv2.VideoCapture(path)
    duration_s = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    if end_s is not None and end_s > duration_s:
        raise ValueError("end_time is past the end of the video")
    window = {} if start_s is None else {"video_start": start_s, "video_end": end_s}
    limits = {"fps": fps, "min_frames": 2, "max_frames": max_frames, "min_pixels": 28 * 28, "max_pixels": max_pixels}
    return vision_process.fetch_video({"video": path, **window, **limits})


def encode(frames: torch.Tensor) -> list[str]:
    """Each frame as PNG in base64."""
    encoded = []
    for frame in frames.permute(0, 2, 3, 1).to(torch.uint8).numpy():
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format="PNG")
        encoded.append(base64.b64encode(buffer.getvalue()).decode())
    return encoded


def crop(path: str, start_s: float, end_s: float, **limits: float) -> list[str]:
    return encode(fetch(path, start_s, end_s, **limits))


def serve(**limits: float) -> None:
    from mcp.server.fastmcp import FastMCP
    from mcp.types import ImageContent

    app = FastMCP("reference")

    @app.tool()
    def crop_video(video_path: str, start_time: float, end_time: float) -> list[ImageContent]:
        return [
            ImageContent(type="image", data=data, mimeType="image/png")
            for data in crop(video_path, start_time, end_time, **limits)
        ]

    app.run("stdio")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--fps", type=float, default=1)
    parser.add_argument("--max-frames", type=int, default=128)
    parser.add_argument("--max-pixels", type=int, default=224 * 224)
    args = parser.parse_args()
    serve(fps=args.fps, max_frames=args.max_frames, max_pixels=args.max_pixels)
