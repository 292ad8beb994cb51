"""Fuzz the readers of hostile input: mp4 tables, whole small files, and a policy's arguments.

    python benchmarks/fuzz_video.py tables|file|arguments [atheris options, such as -max_total_time=60]

Guided by coverage with atheris; without it, seeded random mutations until interrupted (or ``-runs=N``). A finding is
any exception that is not one of the package's own, or a call that takes longer than 10 s of CPU.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ["LONGVT_CLIP_STORE"] = "off"

try:
    import atheris
except ImportError:
    atheris = None

from longvt_plugins.errors import ToolCallError, VideoError
from longvt_plugins.testing.videos import write_video
from longvt_plugins.tools.arguments import read_arguments
from longvt_plugins.video import probe, read_frames
from longvt_plugins.video.mp4 import read_tables

SCRATCH = Path(tempfile.mkdtemp(prefix="longvt-fuzz-"))
MAX_CPU_S = 10


def tables(data: bytes) -> None:
    path = SCRATCH / "tables.mp4"
    path.write_bytes(data)
    index = read_tables(str(path))
    if index is not None and index.shown.any():
        assert len(index.times_s) == len(index.display) and index.times_s[0] == 0


def file(data: bytes) -> None:
    path = SCRATCH / "file.mp4"
    path.write_bytes(data)
    try:
        info = probe(path)
        read_frames(path, info.times_s[[0, -1]], (28, 28), deadline_s=5)
    except VideoError:
        pass


def arguments(data: bytes) -> None:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        read_arguments(parsed, ("/data/a.mp4", "/data/b.mp4"))
    except ToolCallError as error:
        assert len(str(error)) < 400


TARGETS = {"tables": tables, "file": file, "arguments": arguments}


def seeds(target: str) -> list[bytes]:
    if target == "arguments":
        calls = [
            {"start_time": 1, "end_time": "2.5", "video": 0},
            {"start_time": -1e9, "end_time": 1, "video_path": "a.mp4"},
        ]
        return [json.dumps(call).encode() for call in calls]
    flags = {"faststart": {"movflags": "faststart"}, "fragmented": {"movflags": "frag_keyframe+empty_moov"}}
    return [
        write_video(SCRATCH / f"{name}.mp4", 12, size=(64, 64), gop=4, container_options=options).read_bytes()
        for name, options in flags.items()
    ]


def timed(target: str):
    def one(data: bytes) -> None:
        before = time.process_time()
        TARGETS[target](data)
        assert time.process_time() - before < MAX_CPU_S, "too slow"

    return one


def mutate_forever(target: str, runs: int) -> None:
    source, one, number = seeds(target), timed(target), 0
    while number != runs:
        chance = random.Random(number)
        data = bytearray(chance.choice(source))
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data))
            data[at : at + chance.choice([0, 1, 1, 1, 4])] = chance.randbytes(chance.choice([0, 1, 1, 1, 4]))
        try:
            one(bytes(data))
        except BaseException:
            (SCRATCH / "finding").write_bytes(data)
            print(f"run {number}: kept in {SCRATCH / 'finding'}", file=sys.stderr)
            raise
        number += 1
    print(f"{target}: {number} runs, no finding")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target = sys.argv[1]
    runs = next((int(word.split("=")[1]) for word in sys.argv[2:] if word.startswith("-runs=")), -1)
    if atheris is None:
        mutate_forever(target, runs)
        return
    corpus = SCRATCH / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds(target)):
        (corpus / str(number)).write_bytes(data)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *sys.argv[2:], "-max_len=65536", str(corpus)], timed(target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
