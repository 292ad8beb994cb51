"""What the phases of ``gpu.py`` left: step times, the plugin's share and resume; probabilities, in a file of their own.

Seconds of a step are verl's own (``timing_s/*`` of the metrics). What the plugin spends outside generation and
decode is what it records itself under ``longvt/time/*``, in seconds of one step; each such key becomes a row.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from longvt_plugins.tokens.profiles import DEFAULT, PROFILES
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import TrajectoryRecord

PACKAGES = (
    "torch",
    "transformers",
    "verl",
    "vllm",
    "ray",
    "tensordict",
    "av",
    "numpy",
    "mcp",
    "decord",
    "qwen-vl-utils",
)
OTHER_PROFILES = tuple(name for name in PROFILES if name != DEFAULT)
FP32 = "-fp32"
PROFILE_RUNS = tuple(profile + dtype for profile in OTHER_PROFILES for dtype in ("", FP32))
RUNS = {
    "plugin": "crop_video",
    "resume": "crop_video, resumed",
    "mcp": "MCP and PNG",
    "fp32": "crop_video, float32",
    **{run: f"crop_video, {run.removesuffix(FP32)}" + ", float32" * run.endswith(FP32) for run in PROFILE_RUNS},
}
TIMED = ("plugin", "resume", "mcp")
PHASES = ("plugin", "mcp", "kill", "resume", "fp32", *PROFILE_RUNS, "verify")
OURS = "longvt/time/"
PROBABILITIES = ("rollout_probs_diff_mean", "rollout_probs_diff_max", "rollout_actor_probs_pearson_corr")


def write(folder: Path, results: Path, steps: int) -> None:
    """``gpu.md`` once there is something to compare with, ``gpu_probabilities.md`` once ``verify`` has run."""
    metrics = {run: read_metrics(folder / f"{run}.metrics.jsonl") for run in RUNS if (folder / f"{run}.json").exists()}
    timed = {run: metrics[run] for run in TIMED if run in metrics}
    reports = {
        "gpu.md": (timed.keys() - {"plugin"}, head(folder, "GRPO on one GPU", (*TIMED, "kill")),
                   step_times(timed), crops(folder), resumed(folder, steps)),
        "gpu_probabilities.md": (read_note(folder, "verify"),
                   head(folder, "Rollout against actor on one GPU", ("plugin", "fp32", *PROFILE_RUNS, "verify")),
                   probabilities(metrics), verified(folder)),
    }  # fmt: skip
    for name, (wanted, *sections) in reports.items():
        if wanted:
            text = "\n\n".join(section for section in sections if section) + "\n"
            (results / name).write_text(text)
            print(text)


def read_metrics(path: Path) -> dict[int, dict[str, float]]:
    """Metrics of each training step."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {record["step"]: record["data"] for record in records if "timing_s/step" in record["data"]}


def read_note(folder: Path, phase: str) -> dict:
    path = folder / f"{phase}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def machine() -> str:
    """Date, hardware and versions, as they stand when a phase ends."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]
    except (FileNotFoundError, subprocess.CalledProcessError):
        gpu = "no GPU"
    versions = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
    python = platform.python_version()
    return f"{datetime.date.today()}. {gpu}, {os.cpu_count()} CPU cores, Python {python}, {versions}."


def head(folder: Path, title: str, phases: tuple[str, ...]) -> str:
    notes = {phase: note for phase in PHASES if phase in phases and (note := read_note(folder, phase))}
    lines = [f"# {title}", "", *dict.fromkeys(note["machine"] for note in notes.values()), ""]
    lines += dict.fromkeys(f"    python {note['command']}" for note in notes.values())
    lines += ["", "| phase | wall time, s | exit | checkpoints |", "| --- | --- | --- | --- |"]
    for phase, note in notes.items():
        ended = note.get("exit_code", f"SIGKILL to {note.get('processes')} processes in {note.get('killed_in')}")
        lines.append(f"| {phase} | {note['seconds']:.0f} | {ended} | {', '.join(note['saved']) or 'none'} |")
    return "\n".join(lines)


def step_times(runs: dict[str, dict[int, dict[str, float]]]) -> str:
    """Medians over all steps but the first of each run, which warms up."""
    columns = {run: median_of({step: runs[run][step] for step in list(runs[run])[1:]}) for run in runs}
    names = sorted({name for column in columns.values() for name in column if name.startswith("timing_s/")})
    names = ["timing_s/step", *(name for name in names if name != "timing_s/step" and name.count("/") == 1)]
    rows = [
        [name.removeprefix("timing_s/"), *(number(column.get(name)) for column in columns.values())] for name in names
    ]
    text = table("Seconds of a step, medians of all steps but the first", ["part", *(RUNS[run] for run in runs)], rows)
    ours = sorted({name for column in columns.values() for name in column if name.startswith(OURS)})
    share = [[name.removeprefix(OURS), *(number(column.get(name)) for column in columns.values())] for name in ours]
    if ours:
        sums = {run: sum(column.get(name, 0.0) for name in ours) for run, column in columns.items()}
        share.append(["share of the step", *(percent(sums[run] / columns[run]["timing_s/step"]) for run in runs)])
        text += "\n\n" + table(
            "Of it the plugin, outside generation and decode", ["part", *(RUNS[r] for r in runs)], share
        )
    if {"plugin", "mcp"} <= columns.keys():
        step, gen = (columns["mcp"][k] / columns["plugin"][k] for k in ("timing_s/step", "timing_s/gen"))
        text += f"\n\nMCP and PNG over crop_video: step {step:.2f}, rollouts {gen:.2f}. "
        text += "verl looks for finished rollouts every 2 s, so `gen` comes in steps of 2 s."
    return text


def crops(folder: Path) -> str:
    """Wall seconds of a tool call, from the trajectories of all training steps but the first."""
    rows, medians = [], {}
    for run in ("plugin", "mcp"):
        records = [r for r in trajectory_log.read(folder / run / "trajectories", "train") if r.step > 1]
        seconds = [c.outcome.seconds for r in records for c in r.transcript.calls if c.outcome.status == "ok"]
        if seconds:
            medians[run] = statistics.median(seconds)
            frames = statistics.mean(len(c.times_s) for r in records for c in r.transcript.crops_ok())
            row = [RUNS[run], len(records), len(seconds), f"{frames:.1f}", number(medians[run]), number(max(seconds))]
            rows.append(row)
    if not rows:
        return ""
    names = ["path", "trajectories", "crops", "frames a crop", "median s", "largest s"]
    text = table("Crops", names, rows) + "\n\nWall time of a call, its wait for a turn included. "
    text += "The clip store serves a crop that another rollout has made."
    if len(medians) == 2:
        text += f" MCP and PNG over crop_video: {medians['mcp'] / medians['plugin']:.1f} (median crop)."
    return text


def probabilities(runs: dict[str, dict[int, dict[str, float]]]) -> str:
    rows = []
    for run, steps in runs.items():
        for name in PROBABILITIES:
            values = [data[f"training/{name}"] for data in steps.values() if f"training/{name}" in data]
            if values:
                worst = min(values) if "pearson" in name else max(values)
                rows.append([RUNS[run], f"`{name}`", *(f"{v:.3g}" if v < 0.9 else f"{v:.6f}" for v in
                             (values[0], statistics.median(values), worst))])  # fmt: skip
    return table("Probabilities of sampled tokens, by verl", ["run", "metric", "first step", "median", "worst"], rows)


def verified(folder: Path) -> str:
    """What ``longvt verify`` found: engine against actor, by checkpoint, media profile and dtype."""
    path = folder / "verify.jsonl"
    if not path.exists():
        return ""
    rows = []
    for report in map(json.loads, path.read_text().splitlines()):
        found = {finding["check"]: finding for finding in report["findings"]}
        figures = found.get("log-probs", {}).get("figures", {})
        failed = [name for name, finding in found.items() if not finding["ok"]] or ([] if found else ["did not run"])
        mean, most, pearson = (figures.get(name) for name in ("mean_difference", "max_difference", "pearson"))
        cells = [number(mean), number(most), "" if pearson is None else f"{pearson:.7f}"]
        rows.append([report["name"], report["profile"], report["dtype"], *cells, ", ".join(failed) or "none"])
    names = ["checkpoint", "profile", "dtype", "mean difference", "max", "Pearson", "failed checks"]
    return table("longvt verify: probabilities of the policy's tokens, engine against actor", names, rows)


def resumed(folder: Path, steps: int) -> str:
    """Does the resumed run go on at the right step, with the same data, and nothing lost?"""
    if not read_note(folder, "resume"):
        return ""
    plain, before, after = (
        by_step(folder / name) for name in ("plugin/trajectories", "killed_trajectories", "killed/trajectories")
    )
    first = min(read_metrics(folder / "resume.metrics.jsonl"))
    last_saved = int(read_note(folder, "kill")["saved"][-1].split("_")[2])
    expected = {step: len(plain[step]) for step in plain}
    checks = {
        f"the run goes on with step {first}; the last checkpoint is of step {last_saved}": first == last_saved + 1,
        f"every one of {steps} steps has its trajectories": sorted(after) == list(range(1, steps + 1)),
        f"each step has as many as the uninterrupted run, {sum(expected.values())} in all, none twice": all(
            len(after.get(step, ())) == count == len({(r.group, r.session) for r in after.get(step, ())})
            for step, count in expected.items()
        ),
        "each step before the kill has the uninterrupted run's samples": same_samples(plain, before, before),
        "each step after it, too": same_samples(plain, after, range(first, steps + 1)),
        "steps done twice have the same samples twice": same_samples(before, after, [s for s in before if s >= first]),
    }
    lines = [f"* {'yes' if held else '**no**'}: {what}" for what, held in checks.items()]
    return "\n".join(["## Killed and resumed", "", *lines])


def by_step(trajectories: Path) -> dict[int, list[TrajectoryRecord]]:
    steps: dict[int, list[TrajectoryRecord]] = {}
    for record in trajectory_log.read(trajectories, "train"):
        steps.setdefault(record.step, []).append(record)
    return steps


def same_samples(one: dict, other: dict, steps) -> bool:
    def samples(records: list[TrajectoryRecord]) -> list[str]:
        return sorted(str(record.sample_index) for record in records)

    return all(samples(one.get(step, [])) == samples(other.get(step, [])) for step in steps)


def median_of(steps: dict[int, dict[str, float]]) -> dict[str, float]:
    names = {name for data in steps.values() for name in data}
    return {name: statistics.median(data[name] for data in steps.values() if name in data) for name in names}


def table(title: str, names: list[str], rows: list[list]) -> str:
    lines = [f"## {title}", "", f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
