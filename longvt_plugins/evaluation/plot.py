"""The report as a picture: accuracy of every checkpoint by mode, and RL's mean reward by step. Drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .report import Step
from .results import Header
from .summary import Summary

PANEL, MARGIN = (560, 360), 56
COLOURS = {"crops": (31, 119, 180), "no-tool": (150, 150, 150), "blank": (255, 160, 60)}
INK, GRID = (40, 40, 40), (225, 225, 225)


def save_plot(results: Sequence[tuple[Header, Summary]], steps: Sequence[Step], path: Path) -> None:
    """Write a PNG; a panel without data is left out."""
    panels = [(_bars, results)] * bool(results) + [(_curve, steps)] * bool(steps)
    image = Image.new("RGB", (PANEL[0] * max(1, len(panels)), PANEL[1]), "white")
    for number, (draw_panel, data) in enumerate(panels):
        draw_panel(_Axes(image, number * PANEL[0]), data)
    image.save(path, "PNG")


class _Axes:
    """One panel: the unit square, y upwards, in pixels."""

    def __init__(self, image: Image.Image, left: int):
        self.draw, self.left = ImageDraw.Draw(image), left
        self.small, self.large = (ImageFont.load_default(size=size) for size in (12, 15))

    def at(self, x: float, y: float) -> tuple[float, float]:
        width, height = PANEL[0] - 2 * MARGIN, PANEL[1] - 2 * MARGIN
        return self.left + MARGIN + x * width, MARGIN + (1 - y) * height

    def frame(self, title: str, top: float) -> None:
        """Title, and grid lines for values up to ``top``."""
        self.draw.text((self.left + MARGIN, 16), title, INK, self.large)
        for part in range(5):
            y = part / 4
            self.draw.line([self.at(0, y), self.at(1, y)], GRID)
            x, height = self.at(0, y)
            self.draw.text((x - 6, height), f"{y * top:.2f}", INK, self.small, anchor="rm")

    def label(self, x: float, text: str, line: int = 0) -> None:
        left, bottom = self.at(x, 0)
        self.draw.text((left, bottom + 8 + 15 * line), text, INK, self.small, anchor="ma")


def _bars(axes: _Axes, results: Sequence[tuple[Header, Summary]]) -> None:
    axes.frame("Accuracy on held-out questions", 1.0)
    models = list(dict.fromkeys(header.model for header, _ in results))
    modes = [mode for mode in COLOURS if any(header.mode == mode for header, _ in results)]
    found = {(header.model, header.mode): summary.accuracy for header, summary in results}
    for column, model in enumerate(models):
        axes.label((column + 0.5) / len(models), model)
        for bar, mode in enumerate(modes):
            value, width = found.get((model, mode)), 0.8 / len(models) / len(modes)
            x = (column + 0.1) / len(models) + bar * width
            if value is not None:
                axes.draw.rectangle([axes.at(x, value), axes.at(x + 0.9 * width, 0)], fill=COLOURS[mode])
    for number, mode in enumerate(modes):
        x, y = axes.at(number / len(modes), 0)
        axes.draw.rectangle([x, y + 30, x + 10, y + 40], fill=COLOURS[mode])
        axes.draw.text((x + 15, y + 35), mode, INK, axes.small, anchor="lm")


def _curve(axes: _Axes, steps: Sequence[Step]) -> None:
    top = max(0.1, *(step.score for step in steps)) * 1.1
    axes.frame("Mean reward of the training rollouts by RL step", top)
    last = max(1, len(steps) - 1)
    points = [axes.at(number / last, max(0.0, step.score) / top) for number, step in enumerate(steps)]
    if len(points) > 1:
        axes.draw.line(points, COLOURS["crops"], width=3)
    for x, y in points:
        axes.draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=COLOURS["crops"])
    for number in sorted({0, last // 2, last}):
        if number < len(steps):
            axes.label(number / last, str(steps[number].step))
