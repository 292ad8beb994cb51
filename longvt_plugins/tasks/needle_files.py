"""The needle task on disk: encoded films, a parquet file per split, the crop tool's and the evaluation's options."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import av
import numpy as np
import yaml

from longvt_plugins.datasets.schema import write_rl_rows
from longvt_plugins.tools.tool_file import PACKAGED, crop_tool

from . import glyphs
from .needle import DIGIT_BOX, DIGIT_S, SPLITS, Film, NeedleSize, code_boxes, make_films, rows_of


def write_needle(folder: str | os.PathLike[str], size: NeedleSize, seed: int = 0) -> dict[str, int]:
    """Write everything to ``folder``; returns the number of questions per split."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {split: [] for split in SPLITS}
    for film in make_films(size, seed):
        write_film(folder / film.name, film, size)
        rows[film.split] += rows_of(film, size, len(rows[film.split]))
    for split in SPLITS:
        write_rl_rows(rows[split], folder / f"{split}.parquet")
    _write_options(folder, size)
    return {split: len(rows[split]) for split in SPLITS}


def write_film(path: Path, film: Film, size: NeedleSize) -> None:
    """Encode a film as H.264 in mp4. The name appears when the file is whole."""
    scratch = path.with_suffix(".tmp.mp4")
    height, width = size.frame
    rng = np.random.default_rng(film.seed)
    with av.open(str(scratch), "w") as container:
        options = {"crf": "18", "preset": "veryfast", "g": str(2 * size.fps)}
        stream = container.add_stream("libx264", rate=size.fps, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(len(film.scenes)):
            for picture in pictures(film, number, size, rng):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    os.replace(scratch, path)


def pictures(film: Film, number: int, size: NeedleSize, rng: np.random.Generator):
    """Frames of one scene, in order: uint8 ``[height, width, 3]`` each."""
    scene = film.scenes[number]
    height, width = size.frame
    rows, columns = np.mgrid[0:height, 0:width]
    colour, slope = rng.integers(40, 200, 3), rng.uniform(-0.2, 0.2, 2)
    speed = rng.uniform(1, 4)
    frames = round(size.scene_s * size.fps)
    for i in range(frames):
        wave = 25 * np.sin(rows * slope[0] + columns * slope[1] + i * speed / size.fps)
        picture = np.clip(colour + wave[..., None], 0, 255).astype(np.uint8)
        for letter, box in zip(scene.code, code_boxes(len(scene.code)), strict=True):
            glyphs.draw(picture, letter, box)
        if scene.digit is not None:
            first = round((scene.shown_s[0] - number * size.scene_s) * size.fps)
            if first <= i < first + round(DIGIT_S * size.fps):
                glyphs.draw(picture, scene.digit, DIGIT_BOX)
        yield picture


def _write_options(folder: Path, size: NeedleSize) -> None:
    overview, crop = dataclasses.asdict(size.overview_policy), dataclasses.asdict(size.crop_policy)
    tool = dataclasses.replace(crop_tool(PACKAGED), config={"type": "native", **crop})
    _write(folder / "crop_video.yaml", {"tools": [dataclasses.asdict(tool)]})
    evaluation = {"tool": "crop_video.yaml", "overview": overview, "response_length": size.response_length}
    _write(folder / "evaluation.yaml", evaluation)


def _write(path: Path, content: dict) -> None:
    scratch = path.with_suffix(".tmp")
    scratch.write_text(yaml.safe_dump(content, sort_keys=False))
    os.replace(scratch, path)
