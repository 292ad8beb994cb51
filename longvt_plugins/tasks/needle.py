"""The needle task: a long video, a brief event, and a question that only a crop of the right window can answer.

A film is a row of scenes of one length. Each shows its code, unique in the film, all the time; some show a digit for
half a second. The question names a code and asks for the digit. The overview has one tiny frame in the middle of
each scene: enough to find the scene, and no digit is ever on screen then. A crop has ``crop_frames`` larger frames
whatever its length, so a crop of the scene always sees the digit and a wide one hardly: a window of ``w`` seconds
sees it with chance ``crop_frames * 0.5 / w``, the whole film never. Classes are balanced in every split; splits share
no video and no code, and the held-out films are longer. ``needle_files`` writes it all.

The ground-truth segment of a question is its scene: the tightest window that the overview gives away.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from longvt_plugins.datasets.schema import Message, RLRow
from longvt_plugins.errors import ConfigError
from longvt_plugins.types import Span
from longvt_plugins.video import SamplingPolicy

from . import glyphs

SPLITS = ("train", "val", "held_out")
LETTERS = "ACEFHJKLMNPRTUVWXYZ"
CODE_SHARES = {"train": 0.5, "val": 0.2, "held_out": 0.3}
DIGIT_S = 0.5
DIGIT_BOX: glyphs.Box = (0.56, 0.36, 0.96, 0.64)
SOURCE = "longvt_needle"


@dataclass(frozen=True)
class NeedleSize:
    """The size knob. Sizes are ``(height, width)``.

    Raises:
        ConfigError: a size at which the task would not be what it claims to be.
    """

    scenes: int
    """Of a film in train and val, or of the longest."""
    held_out_scenes: int
    videos: tuple[int, int, int]
    """Films in train, val and held_out."""
    questions: int
    """Per film: as many scenes show a digit."""
    least_scenes: int | None = None
    """Of the shortest film in train and val; ``None``: all have ``scenes``."""
    code_length: int = 2
    digits: str = "0123456789"
    frame: tuple[int, int] = (112, 168)
    overview: tuple[int, int] = (56, 84)
    fps: int = 8
    scene_s: float = 4.0
    crop_frames: int = 10
    patch: int = 28
    response_length: int = 4096
    """Tokens after the prompt in an evaluation."""

    def __post_init__(self):
        least_codes = min(
            len(LETTERS) ** self.code_length * CODE_SHARES[split] / self.scenes_of(split) for split in SPLITS
        )
        checks = {
            f"scenes={self.scenes}, held_out_scenes={self.held_out_scenes}: there are too few codes": least_codes >= 1,
            f"held_out_scenes={self.held_out_scenes}: must be more than scenes": self.held_out_scenes > self.scenes,
            f"least_scenes={self.least_scenes}: must be at most scenes": self.shortest <= self.scenes,
            f"questions={self.questions}: must lie between 1 and the scenes of the shortest film": (
                1 <= self.questions <= self.shortest
            ),
            f"digits={self.digits!r}: must be at least two different digits": (
                self.digits.isdecimal() and len(set(self.digits)) == len(self.digits) > 1
            ),
            f"crop_frames={self.crop_frames}: a crop of a scene would miss digits": (
                self.crop_frames * DIGIT_S >= self.scene_s
            ),
            f"scene_s={self.scene_s}: must be whole frames, with room for a digit beside the overview's frame": (
                (self.scene_s * self.fps).is_integer() and self.scene_s >= 4 * DIGIT_S
            ),
            f"fps={self.fps}: half a second must be whole frames": self.fps >= 4 and self.fps % 2 == 0,
        }
        for problem, holds in checks.items():
            if not holds:
                value, rule = problem.split(": ")
                raise ConfigError(value, rule, "Change the size of the task.")

    def scenes_of(self, split: str) -> int:
        return self.held_out_scenes if split == "held_out" else self.scenes

    @property
    def shortest(self) -> int:
        return self.scenes if self.least_scenes is None else self.least_scenes

    @property
    def overview_policy(self) -> SamplingPolicy:
        """One tiny frame per scene."""
        pixels = math.prod(self.overview)
        # Frames no larger than Qwen2.5-VL's least are for tiny models, whose processor takes a single patch.
        least = 3_136 if pixels > 3_136 else self.patch**2
        return SamplingPolicy(1 / self.scene_s, 2, self.held_out_scenes, pixels, self.patch, least)

    @property
    def crop_policy(self) -> SamplingPolicy:
        """The same number of frames for any window."""
        pixels = math.prod(self.frame)
        return SamplingPolicy(2.0, self.crop_frames, self.crop_frames, pixels, self.patch, min(pixels, 3_136))


SIZES = {
    "demo": NeedleSize(
        scenes=5,
        held_out_scenes=6,
        videos=(16, 4, 16),
        questions=2,
        least_scenes=3,
        digits="0147",
        frame=(84, 112),
        overview=(56, 56),
        scene_s=2.0,
        crop_frames=4,
        response_length=448,
    ),
    "tiny": NeedleSize(scenes=10, held_out_scenes=14, videos=(4, 2, 2), questions=5),
    "small": NeedleSize(scenes=16, held_out_scenes=32, videos=(32, 5, 10), questions=8),
    "benchmark": NeedleSize(
        scenes=150, held_out_scenes=450, videos=(200, 20, 50), questions=10, code_length=3, frame=(224, 336)
    ),
}
"""``demo``: so easy that a model of under a million parameters learns it. ``tiny``: seconds of CPU, for tests.
``small``: half a minute. ``benchmark``: 10 and 30 minutes a film."""


@dataclass(frozen=True)
class Scene:
    code: str
    digit: str | None = None
    shown_s: Span | None = None
    """When the digit is on screen, ``[start, end)``, in seconds of the film."""


@dataclass(frozen=True)
class Film:
    name: str
    split: str
    scenes: tuple[Scene, ...]
    seed: int
    """Of its backgrounds."""


def make_films(size: NeedleSize, seed: int = 0) -> list[Film]:
    """All films of all splits; the same for the same seed."""
    rng = random.Random(seed)
    codes = ["".join(letters) for letters in itertools.product(LETTERS, repeat=size.code_length)]
    rng.shuffle(codes)
    films, first = [], 0
    for split, count in zip(SPLITS, size.videos, strict=True):
        end = first + math.floor(len(codes) * CODE_SHARES[split])
        answers = _balanced(size.digits, count * size.questions, rng)
        for number in range(count):
            scenes = size.scenes_of(split)
            if split != "held_out" and size.shortest < scenes:
                scenes = rng.randint(size.shortest, scenes)
            chosen = rng.sample(codes[first:end], scenes)
            digits, answers = answers[: size.questions], answers[size.questions :]
            shown = _scenes(size, chosen, digits, rng)
            films.append(Film(f"{split}_{number:04d}.mp4", split, shown, rng.randrange(1 << 30)))
        first = end
    return films


def rows_of(film: Film, size: NeedleSize, first_index: int) -> list[RLRow]:
    """A question for each digit of the film."""
    texts = files(__package__) / "prompts"
    system, asked = (texts.joinpath(f"needle_{name}.txt").read_text() for name in ("system", "question"))
    rows = []
    for number, scene in enumerate(film.scenes):
        if scene.digit is None:
            continue
        question = asked.format(code=scene.code)
        rows.append(
            RLRow(
                data_source=SOURCE,
                prompt=[Message(role="system", content=system), Message(role="user", content=f"<video>\n{question}")],
                videos=[film.name],
                question=question,
                ground_truth=scene.digit,
                index=first_index + len(rows),
                split=film.split,
                options=list(size.digits),
                segments=[(number * size.scene_s, (number + 1) * size.scene_s)],
            )
        )
    return rows


def code_boxes(length: int) -> list[glyphs.Box]:
    """Where the letters of a code stand."""
    width = 0.84 / length
    return [(0.06, 0.08 + i * width, 0.5, 0.08 + (i + 1) * width) for i in range(length)]


def read_code(frame: np.ndarray, length: int) -> str | None:
    """The code that a frame shows: uint8 ``[height, width, 3]`` at any size; ``None``: no whole code."""
    letters = [glyphs.read(frame, box, LETTERS) for box in code_boxes(length)]
    return None if None in letters else "".join(letters)


def read_digit(frames: Sequence[np.ndarray], digits: str, code: str) -> str | None:
    """The digit shown with ``code`` in any of ``frames``, by their pixels; ``None``: it cannot be seen in them."""
    for frame in frames:
        digit = glyphs.read(frame, DIGIT_BOX, digits)
        if digit is not None and read_code(frame, len(code)) == code:
            return digit
    return None


def _balanced(digits: str, count: int, rng: random.Random) -> list[str]:
    """``count`` answers, each digit as often as any other, give or take one."""
    order = rng.sample(digits, len(digits))
    answers = [order[i % len(order)] for i in range(count)]
    rng.shuffle(answers)
    return answers


def _scenes(size: NeedleSize, codes: list[str], digits: list[str], rng: random.Random) -> tuple[Scene, ...]:
    duration_s = len(codes) * size.scene_s
    # Where the overview looks, and where a crop of everything does.
    looks = np.concatenate([(np.arange(n) + 0.5) * duration_s / n for n in (len(codes), size.crop_frames)])
    showing = dict(zip(sorted(rng.sample(range(len(codes)), len(digits))), digits, strict=True))
    scenes = []
    for number, code in enumerate(codes):
        if number not in showing:
            scenes.append(Scene(code))
            continue
        start_s = rng.choice(_free_starts(size, number * size.scene_s, looks))
        scenes.append(Scene(code, showing[number], (start_s, start_s + DIGIT_S)))
    return tuple(scenes)


def _free_starts(size: NeedleSize, scene_start_s: float, looks: np.ndarray) -> list[float]:
    """Times at which a digit may appear in a scene, a frame or more away from ``looks``."""
    frame_s = 1 / size.fps
    starts = scene_start_s + np.arange(round((size.scene_s - DIGIT_S) * size.fps) + 1) * frame_s
    near = (looks > starts[:, None] - frame_s) & (looks < starts[:, None] + DIGIT_S + frame_s)
    free = starts[~near.any(axis=1)].tolist()
    if not free:
        raise ConfigError(f"scene_s={size.scene_s}", "leaves a digit no time between the frames", "Use longer scenes.")
    return free
