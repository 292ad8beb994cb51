"""CPU time, the decoder's limit, and the table that a benchmark writes."""

from __future__ import annotations

import datetime
import os
import platform
import resource
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import torch

from longvt_plugins.video.mp4 import read_tables

COLUMNS = (
    "task", "decord", "torchcodec", "ours", "L", "decord / ours", "torchcodec / ours", "ours / L", "pixels", "holds",
)  # fmt: skip


def cpu() -> float:
    """CPU seconds of this process and its ended children."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measured(work: Callable[[], object]) -> tuple[float, object]:
    before = cpu()
    result = work()
    return cpu() - before, result


def limit(path: str, times_s: tuple[float, ...]) -> float:
    """CPU seconds to decode what these frames need."""
    index = read_tables(path)
    positions = index.display[index.on_display(np.array(times_s))]
    keys = np.flatnonzero(index.key)
    groups = defaultdict(list)
    for position in positions:
        groups[int(keys[np.searchsorted(keys, position, side="right") - 1])].append(int(position))
    with av.open(path) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        codec.thread_count = 1
        before = cpu()
        for key, wanted in groups.items():
            container.seek(int(index.pts[key]), stream=stream)
            last, keep = max(wanted), {int(index.pts[position]) for position in wanted}
            for position, packet in enumerate(container.demux(stream), start=key):
                codec.skip_frame = "DEFAULT" if packet.pts in keep else "NONREF"
                codec.decode(packet)
                if position == last:
                    break
            codec.decode(None)
            codec.flush_buffers()
        return cpu() - before


def difference(reference: torch.Tensor, pixels: np.ndarray) -> float:
    """Mean absolute difference of 0 to 255."""
    return float(np.abs(reference.permute(0, 2, 3, 1).numpy() - pixels.astype(np.float32)).mean())


class Table:
    """Rows of the report, and whether each holds."""

    def __init__(self):
        self.lines: list[str] = []

    def add(self, task: str, cells: dict[str, str], holds: bool | None = None) -> None:
        """A row; ``cells`` by column, and ``holds`` where the row has an aim."""
        row = cells | {"task": task, "holds": {True: "yes", False: "**no**", None: ""}[holds]}
        assert row.keys() <= set(COLUMNS)
        self.lines.append(f"| {' | '.join(row.get(column, '') for column in COLUMNS)} |")
        print(self.lines[-1], flush=True)


def report(table: Table, command: str, rounds: int) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    packages = [
        "av",
        "numpy",
        "pillow",
        "torch",
        "torchvision",
        "torchcodec",
        "decord",
        "opencv-python",
        "qwen-vl-utils",
        "mcp",
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    head = [
        "# What a crop costs",
        "",
        f"`{command}`, {datetime.date.today()}, {os.cpu_count()} cores of {processor}.",
        f"Python {platform.python_version()}, "
        f"{versions}; PyAV's libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}.",
        "",
        f"CPU seconds, medians of {rounds} interleaved rounds; `benchmarks/crop.py` says what the columns are.",
        "The machine was not idle: medians are good to about 10 %. The aim of each row stands in brackets.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    return "\n".join([*head, *table.lines, ""])
