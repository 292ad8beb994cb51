"""What the judge's client costs and survives: throughput, faults, equal answers, the import.

    python benchmarks/judge.py [--verdicts 1000] [--rate 100]

A scripted judge on a loopback socket answers at a configured rate. *Without faults* the client has to keep it busy.
*With faults* a fifth of the requests gets one of ten faults (HTTP 500, 429 with Retry-After, a hang, a reset, half a
reply, three bodies that are no completion, two replies that are no verdict); every verdict is then compared with the
one that the script would have given, and with what the ledger recorded. Writes benchmarks/results/judge.md.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from longvt_plugins.reward.judge import Judge, JudgeConfig
from longvt_plugins.reward.ledger import Ledger
from longvt_plugins.testing.judge_server import JudgeServer

RESULTS = Path(__file__).parent / "results" / "judge.md"
IMPORT = """
import sys, time
class NoSocket:
    def __call__(self, event, args):
        if event in ("socket.connect", "socket.bind", "socket.getaddrinfo"):
            raise SystemExit(event)
sys.addaudithook(NoSocket())
import longvt_plugins.reward
assert not {"torch", "openai", "httpx", "verl"} & set(sys.modules)
print(time.process_time())
"""


def expected(question: str, reference: str, answer: str) -> float:
    return {0: 0.0, 1: 0.5, 2: 1.0}[int(answer.split()[-1]) % 3]


async def grade(server: JudgeServer, ledger: Path, verdicts: int) -> dict[str, float]:
    """Ask for ``verdicts`` different ones at once."""
    endpoint = {"url": server.url, "concurrency": 64}
    config = JudgeConfig(
        endpoints=[endpoint], model="m", ledger=str(ledger), attempt_s=1.0, backoff_s=0.05, unparsable_replies=10
    )
    answers = [f"answer {number}" for number in range(verdicts)]
    async with Judge(config) as judge:
        await judge.verdict("?", "reference", "answer 0")
        started, cpu = time.monotonic(), time.process_time()
        got = await asyncio.gather(*(judge.verdict("?", "reference", answer) for answer in answers))
        seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu
    recorded = {entry.answer: entry.verdict.score for entry in Ledger(ledger).entries()}
    right = [expected("", "", answer) for answer in answers]
    return {
        "rate": (verdicts - 1) / seconds,
        "seconds": seconds,
        "cpu_ms": 1e3 * cpu_s / verdicts,
        "wrong": sum(v.score is not None and v.score != r for v, r in zip(got, right, strict=True)),
        "lost": sum(v.score is None for v in got),
        "unrecorded": sum(recorded.get(a) != v.score for a, v in zip(answers, got, strict=True)),
        "requests": judge.calls,
        "faults": sum(server.served.values()) - server.served["ok"],
    }


async def equal_answers(ledger: Path) -> int:
    """Requests for 16 equal answers of one group."""
    with JudgeServer(latency_s=0.1) as server:
        async with Judge(JudgeConfig(endpoints=[server.url], model="m", ledger=str(ledger))) as judge:
            await asyncio.gather(*(judge.verdict("?", "reference", "the same") for _ in range(16)))
    return len(server.asked)


def import_cpu_s() -> float:
    runs = [
        subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True) for _ in range(5)
    ]
    return sorted(float(run.stdout) for run in runs)[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=100)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    with JudgeServer(score=expected, rate=args.rate) as server:
        clean = asyncio.run(grade(server, folder / "clean", args.verdicts))
    with JudgeServer(score=expected, rate=args.rate, fault_rate=0.2, seed=1) as server:
        faulty = asyncio.run(grade(server, folder / "faulty", args.verdicts))
    requests = asyncio.run(equal_answers(folder / "equal"))
    imported_s = import_cpu_s()
    packages = ", ".join(f"{name} {version(name)}" for name in ("openai", "httpx", "pydantic"))
    rows = {
        "verdicts per second": "{rate:.1f}",
        "of the server's rate": "{share:.0%}",
        "seconds": "{seconds:.1f}",
        "CPU per verdict, client and server in one process, ms": "{cpu_ms:.1f}",
        "requests": "{requests}",
        "faults served": "{faults}",
        "wrong scores": "{wrong}",
        "lost verdicts": "{lost}",
        "verdicts not in the ledger as told": "{unrecorded}",
    }
    for measured in (clean, faulty):
        measured["share"] = measured["rate"] / args.rate
    table = "\n".join(f"| {name} | {form.format(**clean)} | {form.format(**faulty)} |" for name, form in rows.items())
    text = f"""# What the judge's client costs and survives

`python benchmarks/judge.py --verdicts {args.verdicts} --rate {args.rate:g}`, {datetime.date.today()}, \
Python {platform.python_version()}, {packages}.
The server takes {args.rate:g} requests a second; the machine was not idle.

| {args.verdicts} verdicts | without faults | with 20% faults |
|---|---|---|
{table}

* 16 equal answers at once: {requests} request.
* `import longvt_plugins.reward`: {imported_s:.2f} s of CPU (median of 5), no torch, no openai, no socket.
"""
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
