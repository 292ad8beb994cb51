"""What the loop costs: many scripted trajectories at once through verl's own worker, on this machine's cores.

    python benchmarks/loop.py [--trajectories 200] [--output benchmarks/results/loop.md]

No model: what is left is the worker, the tokens, the crops, and this package. Three questions:

* how long does a callback of ours keep the event loop (each block of ``LongVTAgentLoop``, each start of the tool)?
* what is our share of the CPU time, beside verl's building of tokens and features and the decoding?
* how often is an overview decoded for the rollouts of one prompt?
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("VERL_PLATFORM", "cpu")

from measure import cpu

WIDTH = 8
"""Rollouts of one prompt."""


def call(start_s: float, end_s: float) -> str:
    arguments = json.dumps({"start_time": start_s, "end_time": end_s})
    return f'<think>Look.</think>\n<tool_call>\n{{"name": "crop_video", "arguments": {arguments}}}\n</tool_call>'


def play(turn: int, trajectory: int) -> str:
    """Two turns with crops, the second in parallel, then an answer; windows differ between trajectories."""
    start_s = 1 + trajectory % 7
    turns = [call(start_s, start_s + 2), call(start_s + 6, start_s + 9) + "\n" + call(start_s + 10, start_s + 12)]
    return turns[turn] if turn < 2 else "<think>I see it.</think><answer>red</answer>"


class Blocks:
    """Wall and CPU time of every block of ours that runs on the event loop's thread."""

    def __init__(self):
        self.wall_s: list[float] = []
        self.cpu_s = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        wall, used = time.perf_counter(), time.thread_time()
        yield
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s += time.thread_time() - used

    def around(self, function: Callable) -> Callable:
        def timed(*args, **kwargs):
            with self():
                return function(*args, **kwargs)

        return timed


def instrument(blocks: Blocks) -> None:
    """Time our blocks. ``_ours`` marks those of the loop; the tool's synchronous part is its hand-over."""
    from longvt_plugins.loops.verl_loop import LongVTAgentLoop
    from longvt_plugins.tools.executor import CropExecutor

    stock = LongVTAgentLoop._ours

    @contextmanager
    def ours(self):
        with blocks(), stock(self):
            yield

    LongVTAgentLoop._ours = ours
    submit = CropExecutor.crop

    def crop(self, *args, **kwargs):
        with blocks():
            return submit(self, *args, **kwargs)

    CropExecutor.crop = crop


def run(trajectories: int, folder: Path) -> dict[str, float | int | list]:
    from transformers import AutoProcessor

    from data_prep.demo_footage import prepare
    from longvt_plugins.datasets import LongVTDataset
    from longvt_plugins.testing.recipe import compose_recipe
    from longvt_plugins.testing.scripted_llm import ScriptedClient, worker_outputs
    from longvt_plugins.testing.teach import Setting, texts_of
    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl
    from longvt_plugins.types import Transcript
    from longvt_plugins.video import clip_store

    prepare(folder / "data", videos=8)
    config = compose_recipe("longvt_demo", [f"longvt.run={folder}", "data.max_response_length=800"])
    make_tiny_qwen2_5_vl(folder / "model", texts_of(Setting.of(config)), hidden=64)
    processor = AutoProcessor.from_pretrained(folder / "model")
    dataset = LongVTDataset(str(config.data.train_files), processor.tokenizer, config.data, processor)
    rows = [dataset[n // WIDTH % len(dataset)] for n in range(trajectories)]
    blocks = Blocks()
    instrument(blocks)
    numbers: dict[int, int] = {}

    def script(turn: int, prompt_ids: list[int]) -> str:
        return play(turn, numbers.setdefault(hash(tuple(prompt_ids[:400])), len(numbers)))

    client = ScriptedClient(config, processor.tokenizer, script)
    clip_store.configure(folder / "clips")
    decoded: list[tuple] = []
    stock = clip_store._decode
    guard = threading.Lock()

    def decode(ref, deadline):
        with guard:
            decoded.append((ref.path, ref.times_s))
        return stock(ref, deadline)

    clip_store._decode = decode
    before, started = cpu(), time.monotonic()
    output = asyncio.run(worker_outputs(config, client, rows))
    spent, wall_s = cpu() - before, time.monotonic() - started
    transcripts = [Transcript.model_validate(t) for t in output.non_tensor_batch["longvt"]]
    crops = [crop for transcript in transcripts for crop in transcript.crops_ok()]
    overviews = {(ref.path, ref.times_s) for transcript in transcripts for ref in transcript.overview}
    assert all(transcript.ended_by == "answer" for transcript in transcripts)
    return {
        "trajectories": trajectories,
        "crops": len(crops),
        "crops_from_store": sum(crop.cached for crop in crops),
        "wall_s": wall_s,
        "cpu_s": spent,
        "ours_cpu_s": blocks.cpu_s,
        "ours_share": blocks.cpu_s / spent,
        "blocks": len(blocks.wall_s),
        "block_median_ms": 1000 * statistics.median(blocks.wall_s),
        "block_p99_ms": 1000 * statistics.quantiles(blocks.wall_s, n=100)[98],
        "block_max_ms": 1000 * max(blocks.wall_s),
        "overviews": len(overviews),
        "overview_decodes": sum(item in overviews for item in decoded),
    }


def report(found: dict, command: str) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("verl", "torch", "transformers", "av"))
    rows = [
        ("trajectories at once", f"{found['trajectories']}, {WIDTH} of each prompt"),
        ("crops", f"{found['crops']}, of which {found['crops_from_store']} from the clip store"),
        ("longest time a callback of ours kept the event loop", f"{found['block_max_ms']:.1f} ms (aim: <= 100)"),
        ("99th percentile and median", f"{found['block_p99_ms']:.2f} and {found['block_median_ms']:.3f} ms"),
        (
            "our CPU time on the event loop",
            f"{found['ours_cpu_s']:.2f} of {found['cpu_s']:.1f} s ({found['ours_share']:.1%})",
        ),
        ("decodes per overview", f"{found['overview_decodes']} for {found['overviews']} videos"),
        ("wall time", f"{found['wall_s']:.1f} s"),
    ]
    lines = [
        "# What the loop costs",
        "",
        f"`{command}`, {datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()};",
        f"{versions}.",
        "The engine is a script, so all CPU time is verl's worker (tokens, features), decoding, and this package.",
        "",
        "| what | figure |",
        "| --- | --- |",
        *(f"| {name} | {figure} |" for name, figure in rows),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trajectories", type=int, default=200)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="longvt-loop-") as folder:
        found = run(args.trajectories, Path(folder))
    text = report(found, f"python benchmarks/loop.py --trajectories {args.trajectories}")
    print(text)
    if args.output:
        args.output.write_text(text)


if __name__ == "__main__":
    main()
