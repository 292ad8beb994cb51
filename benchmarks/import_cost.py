"""What registering with verl adds to ``import verl``: CPU seconds, paired, median of 10.

    python benchmarks/import_cost.py [--pairs 10]

Two figures. *Paired*: two processes after each other, with and without the entry point, and the median of
the differences; it holds all that registering causes, and the noise of two 5-second imports. *Inside*: the
CPU time of loading the entry point at the end of ``import verl`` in one process, which is what verl does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys

INSIDE = """
import time, verl
from importlib.metadata import entry_points
(ours,) = [e for e in entry_points(group="verl.plugins") if e.name == "longvt"]
started = time.process_time()
ours.load()
print(time.process_time() - started)
"""


def child_cpu_s(code: str, plugins: str) -> tuple[float, str]:
    """CPU seconds (user + system) of a process running ``code``, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {**os.environ, "VERL_USE_EXTERNAL_PLUGINS": plugins, "VERL_PLATFORM": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    pairs = parser.parse_args().pairs
    child_cpu_s("import verl", "none")
    without, differences, inside = [], [], []
    for _ in range(pairs):
        without.append(child_cpu_s("import verl", "none")[0])
        differences.append(child_cpu_s("import verl", "longvt")[0] - without[-1])
        inside.append(float(child_cpu_s(INSIDE, "none")[1]))
    result = {
        "pairs": pairs,
        "import_verl_cpu_s": statistics.median(without),
        "paired_added_cpu_s": statistics.median(differences),
        "paired_spread_cpu_s": statistics.quantiles(differences, n=4),
        "inside_added_cpu_s": statistics.median(inside),
        "python": platform.python_version(),
    }
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}, indent=2))


if __name__ == "__main__":
    main()
