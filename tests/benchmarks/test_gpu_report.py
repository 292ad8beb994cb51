"""The report of the GPU experiment: what it calls lost or out of order is, and nothing else."""

import json
from pathlib import Path

import pytest

from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import CallRecord, CropCall, CropOutcome, RewardRecord, TrajectoryRecord, Transcript

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ORDER = {1: "ab", 2: "cd", 3: "ef", 4: "gh", 5: "ij", 6: "kl"}
HELD, BROKEN = "* yes: ", "* **no**: "


def records(step: int, samples: str, seconds: float) -> list[TrajectoryRecord]:
    outcome = CropOutcome(status="ok", reply="", span_s=(0, 1), times_s=(0.0, 1.0), seconds=seconds)
    call = CallRecord(turn=0, call=CropCall(raw=""), outcome=outcome)
    reward = RewardRecord(
        score=1, acc=1, format=1, grounding=None, tool_calls=1, crops_ok=1, abstained=False, faulted=False, reason=""
    )
    return [
        TrajectoryRecord(
            run="r", step=step, split="train", group=sample, session=session, data_source="d", sample_index=sample,
            question="", ground_truth="", transcript=Transcript(ended_by="answer", calls=(call,)), reward=reward,
            included=True, advantage=0.0, prompt_ids=(), response_ids=(), response_mask=(), rollout_log_probs=None,
            weights_step=(0, 0),
        )
        for sample in samples for session in range(2)
    ]  # fmt: skip


def lay(folder: Path, run: str, order: dict[int, str], seconds: float = 0.01) -> None:
    for step, samples in order.items():
        trajectory_log.write(folder / run, "train", step, records(step, samples, seconds))


def lay_metrics(folder: Path, phase: str, steps, **seconds: float) -> None:
    data = {f"timing_s/{name}": value for name, value in seconds.items()} | {"longvt/time/loop": 0.1}
    lines = [{"step": 0, "data": {"val-core/x": 1.0}}, *({"step": step, "data": data} for step in steps)]
    (folder / f"{phase}.metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    note = {"machine": "An H100.", "command": "gpu.py", "seconds": 60.0, "saved": ["global_step_3"], "exit_code": 0}
    (folder / f"{phase}.json").write_text(json.dumps(note))


@pytest.fixture
def report(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_report

    folder = tmp_path / "run"
    lay(folder, "plugin/trajectories", ORDER)
    lay(folder, "mcp/trajectories", ORDER, seconds=0.05)
    lay(folder, "killed_trajectories", {step: ORDER[step] for step in range(1, 5)})
    lay_metrics(folder, "plugin", range(1, 7), step=5.0, gen=2.0)
    lay_metrics(folder, "mcp", range(1, 7), step=7.0, gen=4.0)
    lay_metrics(folder, "kill", range(1, 4), step=5.0, gen=2.0)
    lay_metrics(folder, "resume", range(4, 7), step=5.0, gen=2.0)

    def write(after_the_resume: dict[int, str]) -> str:
        lay(folder, "killed/trajectories", after_the_resume)
        gpu_report.write(folder, tmp_path, steps=6)
        return (tmp_path / "gpu.md").read_text()

    return write


def test_a_run_that_goes_on_as_if_nothing_had_been(report):
    text = report(ORDER)
    assert text.count("An H100.") == text.count("    python gpu.py") == 1
    assert text.count(HELD) == 6 and BROKEN not in text
    assert "goes on with step 4; the last checkpoint is of step 3" in text
    assert "step 1.40, rollouts 2.00" in text and "5.0 (median crop)" in text
    assert "| share of the step | 2.0 % | 2.0 % | 1.4 % |" in text


@pytest.mark.parametrize(
    ("after", "broken"),
    [
        ({**ORDER, 5: "kl", 6: "ij"}, ["each step after it, too"]),
        ({**ORDER, 5: "i"}, ["each step has as many", "each step after it, too"]),
        ({**ORDER, 4: "gx"}, ["each step after it, too", "steps done twice"]),
    ],
)
def test_another_order_and_a_lost_trajectory_are_told(report, after, broken):
    told = [line for line in report(after).splitlines() if line.startswith(BROKEN)]
    assert len(told) == len(broken)
    assert all(what in line for what, line in zip(broken, told, strict=True))
