"""Chains of every kind over generated media, and a tiny checkpoint of each family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longvt_plugins.datasets.schema import Chain, write_chains
from longvt_plugins.testing.videos import write_video

FAMILIES = ("qwen2_5_vl", "qwen3_vl")
CALL = (
    '<think>Look.</think>\n<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 1, "end_time": 2}}'
    "\n</tool_call>"
)
TOOL = {"type": "function", "function": {"name": "crop_video", "description": "d", "parameters": {"type": "object"}}}


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def video(url: str, **sampling) -> dict:
    return {"type": "video_url", "video_url": {"url": url, **sampling}}


def turn(role: str, *items) -> dict:
    return {"role": role, "content": [text(item) if isinstance(item, str) else item for item in items]}


FRAMES = {"type": "frames", "frames": {"url": "a.mp4", "times_s": [1.0, 1.5], "size": [56, 84]}}
PICTURE = {"type": "image_url", "image_url": {"url": "picture.png"}}
CHAINS = [
    Chain(
        id="tool chain",
        messages=[
            turn("system", "Think."),
            turn("user", video("a.mp4"), "\nWhat?"),
            turn("assistant", CALL),
            turn("tool", FRAMES, "2 frames."),
            turn("assistant", CALL + "\n" + CALL),
            turn("tool", FRAMES, "2 frames."),
            turn("tool", "No frames."),
            turn("assistant", "\n<think>I see.</think>\n\n<answer>red</answer> "),
        ],
        tools=[TOOL],
    ),
    Chain(
        id="two videos",
        messages=[
            turn(
                "user",
                video("a.mp4", fps=2, max_frames=4),
                " or ",
                video("b.mp4", fps=0.5, video_start=1, video_end=9),
                "?",
            ),
            turn("assistant", "The second."),
        ],
    ),
    Chain(id="picture", messages=[turn("user", PICTURE, "What is it?"), turn("assistant", "A square.")]),
    Chain(
        id="picture and video",
        messages=[
            turn("user", PICTURE, video("a.mp4"), "Is it there?"),
            turn("assistant", "Yes."),
            turn("user", "Sure?"),
            turn("assistant", "Yes, at 1 s."),
        ],
    ),
    Chain(id="text", messages=[turn("user", "Say it: assistant\n2 + 2?"), turn("assistant", "4")]),
]


@dataclass(frozen=True)
class Media:
    folder: Path
    chains: list[Chain]

    def checkpoint(self, family: str) -> Path:
        return self.folder / family

    def build(self, family: str, file: str = "chains.parquet", dataset: dict | None = None, **longvt):
        """A built dataset, not shuffled."""
        import lmms_engine.train  # noqa: F401  (its modules import each other in this order only)
        from lmms_engine.datasets import DatasetConfig
        from lmms_engine.mapping_func import DATASET_MAPPING

        from longvt_plugins.datasets.lmms.register import register

        register()
        overview = {"fps": 1, "max_frames": 5, "max_pixels": 8192, **longvt.pop("overview", {})}
        options = {
            "dataset_type": "longvt",
            "dataset_format": "yaml",
            "datasets": [{"path": str(self.folder / file), "data_folder": str(self.folder)}],
            "processor_config": {
                "processor_name": str(self.checkpoint(family)),
                "processor_type": f"longvt_{family}",
            },
            "shuffle": False,
            "extra_kwargs": {"longvt": {"overview": overview, **longvt}},
        }
        built = DATASET_MAPPING["longvt"](DatasetConfig(**options | (dataset or {})))
        built.build()
        return built


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Media:
    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
    from longvt_plugins.testing.tiny_qwen3_vl import make_tiny_qwen3_vl

    media = Media(tmp_path_factory.mktemp("sft"), CHAINS)
    write_video(media.folder / "a.mp4", frames=60, fps=10, size=(96, 128))
    write_video(media.folder / "b.mp4", frames=100, fps=10, size=(64, 96))
    picture = np.zeros((70, 90, 3), np.uint8)
    picture[20:40, 30:60] = (200, 30, 30)
    Image.fromarray(picture).save(media.folder / "picture.png")
    write_chains(CHAINS, media.folder / "chains.parquet")
    texts = [CALL, "Think. What? [12.5 s] <4.0 seconds> 0123456789 user system assistant tool_response"] * 3
    make_tiny_qwen2_5_vl(media.checkpoint("qwen2_5_vl"), texts, hidden=64)
    make_tiny_qwen3_vl(media.checkpoint("qwen3_vl"), texts, hidden=64)
    return media


@pytest.fixture(scope="session", params=FAMILIES)
def family(request) -> str:
    return request.param
