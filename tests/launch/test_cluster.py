"""A run over two Ray nodes, and what follows when one is lost; in the default tests, how it starts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.cluster import Launch, Place, config_words, data_paths
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.testing.processes import mentioning
from longvt_plugins.testing.ray_nodes import HEAD, OTHER, ROOT, free_port, python
from longvt_plugins.trainer import progress

LIMIT_S = 600


@dataclass
class TwoNodes:
    """``longvt launch`` as rank 0 and as rank 1, as two machines would call it."""

    folder: Path
    port: int
    head: subprocess.Popen
    other: subprocess.Popen

    @classmethod
    def start(cls, demo, folder: Path, *overrides: str) -> TwoNodes:
        port = free_port()
        recipe = ["longvt_demo", *demo.overrides, "trainer.nnodes=2", "trainer.val_before_train=false"]
        recipe += [f"trainer.default_local_dir={folder}/run", "ray_kwargs.ray_init.num_cpus=6", *overrides]

        def rank(number: int, ip: str) -> subprocess.Popen:
            place = {"LONGVT_RANK": str(number), "LONGVT_HEAD": HEAD, "LONGVT_PORT": str(port), "LONGVT_IP": ip}
            place["VERL_FILE_LOGGER_PATH"] = f"{folder}/metrics.jsonl"
            launch = ["-m", "longvt_plugins.cli.main", "launch", "--wait", "120", "--idle", "300", *recipe]
            return python(launch, ROOT, folder / f"{number}.out", **place)

        return cls(folder, port, rank(0, HEAD), rank(1, OTHER))

    def end(self) -> tuple[int, int]:
        try:
            return self.head.wait(LIMIT_S), self.other.wait(120)
        finally:
            for process in (self.head, self.other):
                process.terminate()
                process.wait(60)
            shutil.rmtree(Place(0, HEAD, self.port).folder, ignore_errors=True)

    def said(self, rank: int) -> str:
        return (self.folder / f"{rank}.out").read_text()

    def left_running(self) -> dict[int, str]:
        return mentioning(str(Place(0, HEAD, self.port).folder)) | mentioning(str(self.folder))

    def wait_for(self, phase: str) -> None:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self.head.poll() is None:
            if (at := progress.read(self.folder / "run" / progress.FILE_NAME)) and at["phase"] == phase:
                return
            time.sleep(0.1)
        raise AssertionError(f"never came to {phase}: {self.said(0)}")


@pytest.mark.full
def test_a_recipe_over_two_nodes_trains_and_leaves_nothing(demo, tmp_path):
    nodes = TwoNodes.start(demo, tmp_path, "trainer.total_training_steps=1")
    assert nodes.end() == (0, 0), nodes.said(0) + nodes.said(1)
    assert f"ok   cluster: node {HEAD}" in nodes.said(0) and f"node {OTHER}" in nodes.said(0)
    assert "step 1/1: policy update" in nodes.said(0) and "the run has finished" in nodes.said(0)
    assert "the head is gone: this node has left" in nodes.said(1)
    # Both ranks of the actor wrote their shard, each from its own node.
    log = (tmp_path / "run" / "main_ppo.log").read_text()
    assert f"ip={OTHER})" in log
    assert len(list((tmp_path / "run").glob("global_step_1/actor/model_world_size_2_rank_*.pt"))) == 2
    assert nodes.left_running() == {} and not Place(0, HEAD, nodes.port).folder.exists()


@pytest.mark.full
def test_a_lost_node_ends_the_run_and_is_named(demo, tmp_path):
    nodes = TwoNodes.start(demo, tmp_path, "trainer.total_training_steps=50", "trainer.save_freq=-1")
    nodes.wait_for("policy update")
    raylets = [pid for pid, command in mentioning(f"--node_ip_address={OTHER}").items() if "raylet/raylet" in command]
    (raylet,) = [pid for pid in raylets if str(nodes.port) in mentioning("raylet/raylet")[pid]]
    os.kill(raylet, signal.SIGKILL)
    lost = time.monotonic()
    head, other = nodes.end()
    print(f"ended {time.monotonic() - lost:.0f} s after the loss")
    assert (head, other) == (1, 1)
    assert f"node {OTHER} (" in nodes.said(0) and "was lost" in nodes.said(0)
    assert "start the same command again: it goes on from the last checkpoint" in nodes.said(0)
    assert "Ray ended on this node" in nodes.said(1)
    assert nodes.left_running() == {}


@pytest.mark.full
def test_a_run_whose_data_is_missing_is_not_started(demo, tmp_path):
    nodes = TwoNodes.start(demo, tmp_path, "data.val_files=nowhere.parquet")
    assert nodes.end() == (1, 0), nodes.said(0) + nodes.said(1)
    faults = [line for line in nodes.said(0).splitlines() if line.startswith("FAIL ")]
    assert [line.split(": ")[0] for line in faults] == ["FAIL path", "FAIL path"]
    assert HEAD in faults[0] and OTHER in faults[1] and "nowhere.parquet" in faults[0]
    assert "the run was not started" in nodes.said(0)
    assert not (tmp_path / "run" / "main_ppo.log").exists()
    assert nodes.left_running() == {}


@pytest.mark.parametrize("head", [HEAD, "nowhere.invalid"])
def test_a_worker_whose_head_never_comes_says_so(tmp_path, head):
    port = free_port()
    launch = ["-m", "longvt_plugins.cli.main", "launch", "--wait", "1", "longvt_demo", "trainer.nnodes=2"]
    worker = python(launch, tmp_path, tmp_path / "out", LONGVT_RANK="1", LONGVT_HEAD=head, LONGVT_PORT=str(port))
    assert worker.wait(120) == 1
    assert f"the head at {head}:{port} did not answer for 1 s" in (tmp_path / "out").read_text()


def test_a_head_without_an_address_is_one_line(tmp_path, capsys):
    assert main(["launch", "longvt_demo", f"longvt.run={tmp_path}", "--head", "me@nowhere.invalid"]) == 2
    assert re.fullmatch(r"longvt launch: head me@nowhere.invalid: has no address .*--head.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["longvt_dmeo"], "recipe longvt_dmeo: does not compose .*Did you mean longvt_demo"),
        (["longvt_demo", "trainer.nosuch=1"], "'trainer.nosuch'.*Correct the overrides"),
    ],
)
def test_what_does_not_compose_is_one_line(words, said, capsys):
    assert main(["launch", *words]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and re.search(said, told)


def test_a_rank_outside_the_cluster_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"rank 1.*trainer\.nnodes=1"):
        Launch("longvt_demo", [], Place(1, HEAD))


def test_a_recipe_in_a_file_is_found_by_main_ppo(tmp_path, monkeypatch):
    """Which prints here what it would run with."""
    (tmp_path / "mine.yaml").write_text("defaults: [longvt_demo, _self_]\ntrainer: {nnodes: 3}\n")
    monkeypatch.chdir(tmp_path)
    command = ["-m", "verl.trainer.main_ppo", *config_words("mine.yaml"), "--cfg", "job", "--package", "trainer"]
    assert python(command, ROOT, tmp_path / "out").wait(120) == 0
    assert {"nnodes: 3", "  trainer_mode: longvt_sync"} <= set((tmp_path / "out").read_text().splitlines())
    assert config_words("longvt_demo") == ["--config-name", "longvt_demo"]


def test_every_file_of_rows_and_the_videos_must_be_on_every_node():
    recipe = compose_recipe("longvt_demo", ["longvt.run=x", "data.train_files=[a.parquet,b.parquet]"])
    assert data_paths(recipe) == ["a.parquet", "b.parquet", "x/data/val.parquet", "x/data"]
