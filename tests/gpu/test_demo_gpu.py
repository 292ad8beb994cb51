"""The same demo command, on a GPU (make test-gpu)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.gpu
def test_the_demo_uses_the_gpu_and_rollout_and_actor_agree(tmp_path):
    done = subprocess.run(["bash", str(ROOT / "runs" / "demo.sh"), str(tmp_path / "run")], timeout=1800)
    assert done.returncode == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [record["data"] for record in records if record["step"]]
    assert len(steps) == 4
    assert max(step["training/rollout_probs_diff_mean"] for step in steps) < 1e-3
    assert all(step["actor/perf/max_memory_allocated_gb"] > 0 for step in steps)
