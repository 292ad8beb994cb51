"""What a crop costs, against the path it replaces and against the decoder's limit.

    python benchmarks/crop.py VIDEOS [--rounds 5]      # VIDEOS from make_videos.sh; writes results/crop.md

CPU seconds (user + system, all threads and children), libraries warm, files opened anew, our clip store empty unless
the row says otherwise. Rounds are interleaved and medians compared, so a busy machine disturbs all columns alike.

* reference: ``reference_path.crop`` with the decord reader (the original's) and with torchcodec's.
* ours: ``crop_video`` under the index rule, so the same frames; with digest, and the clip written to the store.
* L, the limit: decode from the keyframe before each wanted frame up to it, one thread, pictures that nothing refers to
  skipped unless wanted; no opening, no conversion, no checks.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import reference_path
from measure import Table, difference, limit, measured, report

from longvt_plugins.tools.crop_video import CropOptions, crop_video
from longvt_plugins.tools.executor import CropExecutor
from longvt_plugins.video import SamplingPolicy, clip_store, node_store, plan_overview, probe

probe_module = importlib.import_module("longvt_plugins.video.probe")

POLICY = SamplingPolicy(fps=1, min_frames=2, max_frames=128, max_pixels=224 * 224, min_pixels=28 * 28, rule="index")
OVERVIEW = SamplingPolicy(fps=1, min_frames=2, max_frames=512, max_pixels=224 * 224, min_pixels=28 * 28, rule="index")
OPTIONS = CropOptions(policy=POLICY, deadline_s=600)
WINDOWS = [  # name, file, start, end, least gain over the reference, most of L
    ("3 s of 60 min 360p", "h264_360_60m.mp4", 1800, 1803, 9, 1.3),
    ("10 s of 60 min 360p", "h264_360_60m.mp4", 1800, 1810, 6, 1.25),
    ("60 s of 60 min 360p", "h264_360_60m.mp4", 1800, 1860, 2.3, 1.25),
    ("130 s of 60 min 360p", "h264_360_60m.mp4", 1800, 1930, 2.3, 1.25),
    ("10 s of 30 min 720p", "h264_720_30m.mp4", 900, 910, 3.5, 1.25),
    ("10 s of 10 min 1080p", "h264_1080_10m.mp4", 300, 310, 2, 1.25),
]
LONG = "h264_360_60m.mp4"
COLUMN_OF = {"decord": "reference", "ours": "ours"}


def cold(directory: Path) -> None:
    """Forget every index and every clip."""
    shutil.rmtree(directory, ignore_errors=True)
    clip_store.configure(directory)
    probe_module._indices.clear()


def ours(path: str, start_s: float, end_s: float):
    outcome = crop_video({"start_time": start_s, "end_time": end_s}, [path], OPTIONS)
    assert outcome.status == "ok", outcome.reply
    return outcome


def windows(videos: Path, rounds: int, store: Path, table: Table) -> None:
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    differences = {}
    for number in range(rounds + 1):
        for name, file, start_s, end_s, *_ in WINDOWS:
            path = str(videos / file)
            candidates: dict[str, Callable[[], tuple[float, object]]] = {
                reader: lambda reader=reader, path=path, start_s=start_s, end_s=end_s: reference_crop(
                    reader, path, start_s, end_s
                )
                for reader in ("decord", "torchcodec")
            }
            cold(store)
            cost, outcome = measured(lambda path=path, start_s=start_s, end_s=end_s: ours(path, start_s, end_s))
            again = measured(lambda path=path, start_s=start_s, end_s=end_s: ours(path, start_s, end_s))[0]
            fresh, probed = (second_process(path, start_s, end_s, store, probed) for probed in (False, True))
            bound = limit(path, outcome.times_s)
            if number == 0:
                # Round 0 warms libraries and page cache, and compares pixels.
                frames = reference_path.fetch(path, start_s, end_s)
                differences[name] = difference(frames, clip_store.get(outcome.media))
                continue
            results = {"ours": cost, "again": again, "fresh": fresh, "probed": probed, "L": bound}
            results |= {reader: call()[0] for reader, call in candidates.items()}
            for column, value in results.items():
                costs[name, column].append(value)
    for name, _, _, _, gain, most in WINDOWS:
        cell = {column: statistics.median(costs[name, column]) for column in ("decord", "torchcodec", "ours", "L")}
        gained, over = cell["decord"] / cell["ours"], cell["ours"] / cell["L"]
        cells = {column: f"{cost:.3f}" for column, cost in cell.items()} | {
            "decord / ours": f"{gained:.1f} (>= {gain})",
            "torchcodec / ours": f"{cell['torchcodec'] / cell['ours']:.1f}",
            "ours / L": f"{over:.2f} (<= {most})",
            "pixels": f"{differences[name]:.2f} (<= 0.5)",
        }
        table.add(name, cells, gained >= gain and over <= most and differences[name] <= 0.5)
    name = WINDOWS[1][0]
    reference = statistics.median(costs[name, "decord"])
    places = {"again": "same process", "probed": "another that knows the video", "fresh": "another that does not"}
    for column, what in places.items():
        cost = statistics.median(costs[name, column])
        gained = reference / cost
        cells = {"decord": f"{reference:.3f}", "ours": f"{cost:.5f}", "decord / ours": f"{gained:.0f} (>= 100)"}
        table.add(f"the same crop again, {what} ({name})", cells, gained >= 100)


def reference_crop(reader: str, path: str, start_s: float, end_s: float) -> tuple[float, object]:
    reference_path.use_reader(reader)
    return measured(lambda: reference_path.crop(path, start_s, end_s))


def told_by(code: str, environment: dict[str, str] | None = None) -> list[str]:
    """Words that a new interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def second_process(path: str, start_s: float, end_s: float, store: Path, probed: bool) -> float:
    """CPU seconds of the crop in a process that has imported, and ``probed`` the video or not."""
    code = (
        "import sys, time\nfrom longvt_plugins.tools.crop_video import crop_video, CropOptions\n"
        "from longvt_plugins.video import SamplingPolicy, node_store\nnode_store.shared()\n"
        f"from longvt_plugins.video import probe\nif {probed}: probe({path!r})\n"
        f"options = CropOptions(policy={POLICY!r}, deadline_s=600)\nbefore = time.process_time()\n"
        f"outcome = crop_video({{'start_time': {start_s}, 'end_time': {end_s}}}, [{path!r}], options)\n"
        "print(time.process_time() - before, node_store.shared().status().made)"
    )
    cost, made = told_by(code, os.environ | {node_store.DIRECTORY_VARIABLE: str(store)})
    assert made == "0"
    return float(cost)


def overview(videos: Path, rounds: int, store: Path, table: Table, with_reference: bool) -> None:
    path, costs = str(videos / LONG), defaultdict(list)
    for _ in range(rounds):
        cold(store)
        info = probe(path)
        plan = plan_overview(info, OVERVIEW)
        media = info.frames(plan.times_s, plan.size)
        probe_module._indices.clear()
        costs["ours"].append(measured(lambda media=media: (probe(path), clip_store.get(media)))[0])
        clip_store.configure(store)
        probe_module._indices.clear()
        costs["again"].append(measured(lambda media=media: (probe(path), clip_store.get(media)))[0])
        costs["L"].append(limit(path, plan.times_s))
    cell = {column: statistics.median(values) for column, values in costs.items()}
    reference = mad = None
    if with_reference:
        reference_path.use_reader("decord")
        reference, frames = measured(lambda: reference_path.fetch(path, None, None, 512))
        mad = difference(frames, clip_store.get(media))
    over = cell["ours"] / cell["L"]
    cells = {"ours": f"{cell['ours']:.2f}", "L": f"{cell['L']:.2f}", "ours / L": f"{over:.2f} (<= 1.15)"}
    holds = None
    if reference is not None:
        gained = reference / cell["ours"]
        cells |= {
            "decord": f"{reference:.1f}",
            "decord / ours": f"{gained:.1f} (>= 3.8)",
            "pixels": f"{mad:.2f} (<= 0.5)",
        }
        holds = gained >= 3.8 and over <= 1.15 and mad <= 0.5
    table.add(f"overview, {len(plan.times_s)} frames of 60 min", cells, holds)
    table.add("overview again on the node", {"ours": f"{cell['again']:.3f} (<= 1)"}, cell["again"] <= 1)


def index(videos: Path, table: Table) -> None:
    path = str(videos / LONG)
    costs = []
    for _ in range(15):
        probe_module._indices.clear()
        costs.append(measured(lambda: probe(path))[0])
    cost = statistics.median(costs)
    table.add("index of a 60 min mp4 (probe)", {"ours": f"{cost:.4f} (<= 0.01)"}, cost <= 0.01)


def children_cpu(executor: CropExecutor) -> float:
    total = 0.0
    for child in executor._idle:
        fields = Path(f"/proc/{child.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def concurrent(videos: Path, rounds: int, store: Path, table: Table) -> None:
    path, costs, same = str(videos / LONG), defaultdict(list), True
    for number in range(rounds):
        starts = [random.Random(number * 100 + n).uniform(10, 3500) for n in range(16)]
        cold(store)
        cost, serial = measured(lambda starts=starts: [ours(path, start_s, start_s + 10) for start_s in starts])
        costs["serial"].append(cost)
        cold(store)
        executor = CropExecutor(workers=2)

        async def crops(starts: list[float], executor: CropExecutor = executor):
            calls = ({"start_time": start_s, "end_time": start_s + 10} for start_s in starts)
            return await asyncio.gather(*(executor.crop(call, [path], OPTIONS) for call in calls))

        asyncio.run(crops([5.0, 100.0, 200.0, 300.0]))
        before = children_cpu(executor)
        cost, outcomes = measured(lambda starts=starts, crops=crops: asyncio.run(crops(starts)))
        costs["children"].append(cost + children_cpu(executor) - before)
        executor.close()
        same &= [o.digest for o in outcomes] == [o.digest for o in serial]
        cold(store)
        with ThreadPoolExecutor(16) as pool:
            cost, outcomes = measured(
                lambda starts=starts, pool=pool: list(pool.map(lambda s: ours(path, s, s + 10), starts))
            )
        costs["threads"].append(cost)
        same &= [o.digest for o in outcomes] == [o.digest for o in serial]
        reference_path.use_reader("decord")
        with ThreadPoolExecutor(2) as pool:
            crop = lambda s: reference_path.crop(path, s, s + 10)  # noqa: E731
            cost, _ = measured(lambda starts=starts, pool=pool, crop=crop: list(pool.map(crop, starts)))
        costs["reference"].append(cost)
    cell = {column: statistics.median(values) for column, values in costs.items()}
    for column, what in (("children", "2 child processes"), ("threads", "16 threads")):
        gained, kept = cell["reference"] / cell[column], cell["serial"] / cell[column]
        cells = {
            "decord": f"{cell['reference']:.2f}",
            "ours": f"{cell[column]:.2f}, {kept:.2f} of serial (>= 0.95)",
            "decord / ours": f"{gained:.1f} (>= 5)",
            "pixels": "equal to serial" if same else "DIFFERENT",
        }
        table.add(f"16 concurrent 10 s crops, {what}", cells, gained >= 5 and kept >= 0.95 and same)


def imports(table: Table) -> None:
    code = "import time\nbefore = time.process_time()\nimport longvt_plugins.tools.{0}\nimport sys\n"
    code += "print(time.process_time() - before, 'torch' in sys.modules)"
    for module, most in (("crop_video", 0.5), ("executor", 0.5), ("mcp_server", None)):
        told = [told_by(code.format(module)) for _ in range(7)]
        cost = statistics.median(float(seconds) for seconds, _ in told)
        holds = None if most is None else cost <= most and {torch for _, torch in told} == {"False"}
        table.add(f"import {module}", {"ours": f"{cost:.2f}" + (f" (<= {most}, no torch)" if most else "")}, holds)


def over_mcp(videos: Path, store: Path, table: Table) -> None:
    """CPU of a server that starts, serves one call and ends, and of its client."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), node_store.DIRECTORY_VARIABLE: str(store)}
    servers = {
        "reference": [str(Path(__file__).parent / "reference_path.py"), "serve"],
        "ours": ["-m", "longvt_plugins.tools.mcp_server", "--rule", "index", str(videos)],
    }

    async def calls(command: list[str], windows: list[tuple[float, float]]) -> float:
        started = StdioServerParameters(command=sys.executable, args=command, env=environment)
        before = time.process_time()
        async with stdio_client(started) as streams, ClientSession(*streams) as client:
            await client.initialize()
            for start_s, end_s in windows:
                arguments = {"video_path": str(videos / LONG), "start_time": start_s, "end_time": end_s}
                result = await client.call_tool("crop_video", arguments)
                assert not result.isError and sum(block.type == "image" for block in result.content) > 1
        return time.process_time() - before

    for seconds in (10, 60):
        costs = {}
        for name, command in servers.items():
            cold(store)
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            client = asyncio.run(calls(command, [(1000, 1000 + seconds)]))
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            costs[name] = (now.ru_utime + now.ru_stime - ended.ru_utime - ended.ru_stime, client)
        totals = {name: sum(cost) for name, cost in costs.items()}
        cells = {column: f"{costs[name][0]:.2f} + client {costs[name][1]:.2f}" for column, name in COLUMN_OF.items()}
        cells["decord / ours"] = f"{totals['reference'] / totals['ours']:.1f}"
        table.add(f"{seconds} s over MCP, a process per call", cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, help="directory that make_videos.sh filled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without-overview-reference", action="store_true", help="it alone takes minutes")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "crop.md")
    args = parser.parse_args()
    videos, table = args.videos.absolute(), Table()
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "store"
        windows(videos, args.rounds, store, table)
        overview(videos, max(1, args.rounds // 2), store, table, not args.without_overview_reference)
        index(videos, table)
        concurrent(videos, max(1, args.rounds // 2), store, table)
        imports(table)
        over_mcp(videos, store, table)
    args.output.write_text(report(table, f"python benchmarks/crop.py VIDEOS --rounds {args.rounds}", args.rounds))


if __name__ == "__main__":
    main()
