"""How long an SFT dataset of 250,000 rows takes to its first sample, and what memory it holds.

    python benchmarks/sft_start.py [--rows 250000]

A child process imports everything, then opens synthetic text rows of 3 kB with ``dataset_type: longvt`` (shuffled, over
a tiny checkpoint), takes the first sample, then 2,000 in the shuffled order. *Grown* is the growth of resident memory
since before the file was opened; *of it anonymous* is what no file backs: pages of the mapped cache count as resident
and can be dropped at any time. The file is opened for the first time, so Arrow's cache is written.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path


def write_rows(path: Path, rows: int) -> None:
    from longvt_plugins.datasets.schema import Chain, write_chains

    def text(value: str) -> list[dict]:
        return [{"type": "text", "text": value}]

    def chains():
        for number in range(rows):
            messages = [
                {"role": "user", "content": text(f"{number}? " + "word " * 300)},
                {"role": "assistant", "content": text(f"<think>{'thought ' * 170}</think><answer>{number}</answer>")},
            ]
            yield Chain(id=str(number), messages=messages)

    write_chains(chains(), path)


def child(file: Path, model: Path) -> dict[str, float]:
    import lmms_engine.train  # noqa: F401
    from lmms_engine.datasets import DatasetConfig
    from lmms_engine.mapping_func import DATASET_MAPPING

    from longvt_plugins.datasets.lmms.register import register

    register()

    def memory() -> tuple[int, int]:
        """Bytes resident, and of them those that no file backs."""
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))

    resident, anonymous = memory()
    started, cpu = time.monotonic(), time.process_time()
    config = DatasetConfig(
        dataset_type="longvt",
        dataset_format="yaml",
        datasets=[{"path": str(file)}],
        processor_config={"processor_name": str(model), "processor_type": "longvt_qwen2_5_vl"},
        shuffle=True,
    )
    dataset = DATASET_MAPPING["longvt"](config)
    dataset.build()
    samples = iter(dataset)
    next(samples)
    first = {
        "rows": len(dataset),
        "seconds to the first sample": time.monotonic() - started,
        "CPU seconds of it": time.process_time() - cpu,
        "resident memory grown, MB": (memory()[0] - resident) / 1e6,
        "of it anonymous, MB": (memory()[1] - anonymous) / 1e6,
    }
    list(itertools.islice(samples, 2000))
    return first | {
        "resident memory grown after 2,000 samples, MB": (memory()[0] - resident) / 1e6,
        "of it anonymous after 2,000 samples, MB": (memory()[1] - anonymous) / 1e6,
        "state of the stream, bytes": len(json.dumps(dataset.state_dict(), default=str)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(*args.child)))
        return
    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl

    with tempfile.TemporaryDirectory() as folder:
        file, model = Path(folder, "rows.parquet"), Path(folder, "model")
        write_rows(file, args.rows)
        make_tiny_qwen2_5_vl(model, ["word thought 0123456789"] * 3, hidden=64)
        environment = {**os.environ, "HF_DATASETS_CACHE": str(Path(folder, "cache")), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, __file__, "--child", str(file), str(model)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        size = file.stat().st_size
    figures = json.loads(done.stdout.splitlines()[-1])
    versions = ", ".join(f"{name} {version(name)}" for name in ("lmms-engine", "datasets", "pyarrow", "torch"))
    lines = [
        f"# `python benchmarks/sft_start.py --rows {args.rows}`",
        "",
        f"{datetime.date.today()}, {os.cpu_count()} shared cores, Python {platform.python_version()}, {versions}.",
        f"The file has {size / 1e6:.0f} MB; one process, no DataLoader worker.",
        "",
        "| figure | value |",
        "| --- | --- |",
        *(
            f"| {name} | {value:,.0f} |" if value >= 100 else f"| {name} | {value:.1f} |"
            for name, value in figures.items()
        ),
        "",
    ]
    report = "\n".join(lines)
    print(report)
    Path(__file__).with_name("results").joinpath("sft_start.md").write_text(report)


if __name__ == "__main__":
    main()
