"""Real runs with 1, n - 1 and n abstentions in a group, group filtering off and on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longvt_plugins.datasets.schema import RL_SCHEMA
from longvt_plugins.trainer import trajectory_log

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[2]
PLANTED = Path(__file__).parent / "planted_reward.py"
GROUP, STEPS = 4, 3


def planned(index: int) -> int:
    """As ``planted_reward.py`` does, which is loaded by path."""
    return (0, 1, GROUP - 1, GROUP)[index % 4]


def prepare(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "data_prep.demo_footage", f"{folder}/data"], cwd=ROOT, check=True)


def train(folder: Path, model: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """``main_ppo`` under ``longvt watch``, with the checkpoint that was taught for the session's run."""
    environment = {**os.environ, "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"), "PYTHONPATH": str(ROOT)}
    python = [sys.executable, "-m"]
    command = [*python, "longvt_plugins.cli.main", "watch", "--folder", f"{folder}/train", "--log", f"{folder}/log"]
    command += ["--idle", "300", "--", *python, "verl.trainer.main_ppo", "--config-name", "longvt_demo"]
    command += [f"longvt.run={folder}", f"actor_rollout_ref.model.path={model}"]
    command += [f"trainer.total_training_steps={STEPS}", "trainer.save_freq=-1", "trainer.val_before_train=false"]
    return subprocess.run(
        [*command, *overrides], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200
    )


@pytest.fixture(scope="module", params=[False, True], ids=["all groups", "filtered groups"])
def planted(request, run, tmp_path_factory):
    """Whether groups were filtered, the trajectories by group, and the metrics by step."""
    folder = tmp_path_factory.mktemp("planted")
    prepare(folder)
    # An entropy term reaches every unmasked token, whatever its advantage.
    overrides = [f"reward.custom_reward_function.path={PLANTED}", "actor_rollout_ref.actor.entropy_coeff=0.001"]
    if request.param:
        # What the 7B recipes set. Hot enough that answers within a group differ.
        overrides += ["algorithm.filter_groups.enable=true", "algorithm.filter_groups.metric=acc"]
        overrides += ["actor_rollout_ref.actor.clip_ratio_high=0.28", "actor_rollout_ref.rollout.temperature=1.0"]
    done = train(folder, run.folder / "model", *overrides)
    assert done.returncode == 0, done.stdout
    groups = defaultdict(list)
    for record in trajectory_log.read(folder / "train" / "trajectories", "train"):
        groups[record.step, record.group].append(record)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return request.param, groups, {line["step"]: line["data"] for line in map(json.loads, lines)}


def test_the_abstentions_are_as_planned(planted):
    filtered, groups, _ = planted
    counts = {planned(members[0].sample_index): 0 for members in groups.values()}
    for members in groups.values():
        assert len(members) == GROUP
        abstained = sum(record.reward.abstained for record in members)
        assert abstained == planned(members[0].sample_index)
        counts[abstained] += 1
    assert set(counts) == ({0, 1} if filtered else {0, 1, GROUP - 1, GROUP})


def test_advantages_equal_an_offline_computation_without_them(planted):
    _, groups, _ = planted
    for members in groups.values():
        scores = np.array([np.nan if record.reward.abstained else record.reward.score for record in members])
        scored = scores[~np.isnan(scores)]
        expected = np.zeros(GROUP)
        if len(scored) > 1:
            expected = np.nan_to_num((scores - scored.mean()) / (scored.std(ddof=1) + 1e-6))
        assert [record.advantage for record in members] == pytest.approx(expected, abs=1e-3)
        assert [record.included for record in members] == [len(scored) > 1 and not np.isnan(s) for s in scores]


def test_filtering_leaves_groups_that_teach_something(planted):
    filtered, groups, _ = planted
    if filtered:
        for members in groups.values():
            assert len({record.reward.acc for record in members if not record.reward.abstained}) > 1


def test_metrics_stay_finite(planted):
    _, _, metrics = planted
    assert len(metrics) == STEPS
    for values in metrics.values():
        assert all(np.isfinite(value) for value in values.values() if isinstance(value, float))


def test_a_judge_that_is_down_ends_the_run_with_a_message(run, tmp_path):
    """verl hides what a reward raises; the trainer does not."""
    prepare(tmp_path)
    rows = pq.read_table(tmp_path / "data" / "train.parquet").to_pylist()
    for row in rows:
        row["reward_model"]["ground_truth"], row["extra_info"]["options"] = "in other words", []
    pq.write_table(pa.Table.from_pylist(rows, schema=RL_SCHEMA), tmp_path / "data" / "train.parquet")
    how = "endpoints:['http://127.0.0.1:9/v1'],model:m,deadline_s:0.5,breaker:{window:8,at_least:2}"
    done = train(tmp_path, run.folder / "model", f"+reward.custom_reward_function.reward_kwargs.judge={{{how}}}")
    assert done.returncode == 1
    assert "JudgeError" in done.stdout and "verdicts: failed; at most 50% may" in done.stdout
    assert not list((tmp_path / "train").rglob("step_*.jsonl")), "it ended before the first update"
