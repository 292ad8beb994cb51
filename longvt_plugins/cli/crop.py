"""``longvt crop VIDEO START END -o DIR``: what crop_video shows a policy, as PNG files."""

from __future__ import annotations

import argparse
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.tools.crop_video import CropOptions, crop_video
from longvt_plugins.video import SamplingPolicy, clip_store

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a local video file")
    parser.add_argument("start", type=float, help="start of the window in seconds")
    parser.add_argument("end", type=float, help="end of the window in seconds")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the frames go")
    parser.add_argument("--fps", type=float, default=1.0, help="frames per second (default 1)")
    parser.add_argument("--max-frames", type=int, default=32, help="frames at most (default 32)")
    parser.add_argument("--max-pixels", type=int, default=50_176, help="height x width at most (default 50176)")
    parser.add_argument("--patch", type=int, default=28, help="sides are multiples of it (default 28)")
    parser.add_argument("--rule", choices=("display", "index"), default="display", help="index: LongVT's own frames")


def run(args: argparse.Namespace) -> Outcome:
    """Crop and save.

    Raises:
        ConfigError: options no crop can be made with, or a directory that cannot be written.
    """
    least = min(2, args.max_frames)
    policy = SamplingPolicy(args.fps, least, args.max_frames, args.max_pixels, args.patch, rule=args.rule)
    outcome = crop_video({"start_time": args.start, "end_time": args.end}, [args.video], CropOptions(policy=policy))
    data = outcome.model_dump(mode="json")
    if outcome.media is None:
        return Outcome(ok=False, text=f"{outcome.reply} ({outcome.error.message})", data=data)
    files = _save(args.output, outcome.times_s, clip_store.get(outcome.media))
    data["files"] = files
    height, width = outcome.media.size
    saved = f"{len(files)} frames of {width} x {height} in {args.output}, {outcome.seconds:.2f} s"
    text = f"{outcome.text_with_times()}\n{saved}"
    return Outcome(ok=True, text=text, data=data)


def _save(directory: Path, times_s: tuple[float, ...], pictures) -> list[str]:
    from PIL import Image

    files = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for time_s, picture in zip(times_s, pictures, strict=True):
            files.append(str(directory / f"{time_s:010.3f}s.png"))
            Image.fromarray(picture).save(files[-1])
    except OSError as error:
        raise ConfigError(
            str(directory), f"cannot be written ({error.strerror})", "Choose another directory."
        ) from error
    return files
