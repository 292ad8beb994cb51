"""The job files: each ends in one `longvt launch` a node, with a rank, a head and overrides that compose.

Schedulers are not here; their commands are stood in for by scripts that call what they are given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import string
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from longvt_plugins.cli import launch
from longvt_plugins.launch.compose import compose_recipe
from longvt_plugins.testing.processes import mentioning

FOLDER = Path(__file__).parents[2] / "recipes" / "launch"
JOBS = ("ray.sh", "slurm.sbatch", "skypilot.yaml", "kuberay.yaml", "Dockerfile")
HEADER = ["What", "Hardware", "Run", "Healthy", "Teardown"]
LONGVT = """#!/usr/bin/env python3
import json, os, sys, time
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([sys.argv[1:], os.environ.get("LONGVT_RANK"), os.environ.get("LONGVT_HEAD")]) + "\\n")
ends = time.monotonic() + (20 if os.environ.get("LONGVT_RANK") == "0" else 600)
while time.monotonic() < ends and len(open(os.environ["CALLS"]).readlines()) < int(os.environ["RANKS"]):
    time.sleep(0.05)
if os.environ.get("LONGVT_RANK") != "0":
    time.sleep(600)
"""
# The last word is the remote command. It gets the signal itself, which a terminal of ssh would send on.
SSH = '#!/bin/bash\nexec bash -c "${!#}"\n'
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
SLURM_PROCID=1 "$@" &
SLURM_PROCID=0 "$@"
kill $!
"""


def command(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def run(script: list[str], folder: Path, **variables: str) -> list[tuple[list[str], str, str]]:
    """Calls of ``longvt`` by a script: words, rank, head; sorted by rank."""
    command(folder / ".venv" / "bin", "longvt", LONGVT)
    calls = folder / "calls"
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CALLS": str(calls), "RANKS": "1", **variables}
    done = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return sorted((json.loads(line) for line in calls.read_text().splitlines()), key=lambda call: call[1])


def composed(words: list[str]):
    """The recipe of a call of ``longvt``."""
    assert words[0] == "launch"
    parser = argparse.ArgumentParser()
    launch.add_arguments(parser)
    args = parser.parse_args(words[1:])
    return compose_recipe(args.name, args.overrides)


@pytest.mark.parametrize("name", JOBS)
def test_headers_have_one_shape(name):
    lines = (FOLDER / name).read_text().splitlines()
    labels = [line.split()[1] for line in lines if re.match(r"# [A-Z][a-z]+ ", line) and line[2:10].strip() in HEADER]
    assert labels == HEADER


def test_no_job_file_is_forgotten():
    assert {path.name for path in FOLDER.iterdir()} - {"Dockerfile.dockerignore"} == set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_none_ends_the_ray_of_others(name):
    assert "ray stop" not in (FOLDER / name).read_text()


@pytest.mark.parametrize(
    ("hosts", "settings", "head"),
    [
        ("alpha beta", {}, "alpha"),
        ("me@alpha beta", {}, "alpha"),
        ("alias beta", {"LONGVT_HEAD": "10.0.0.1"}, "10.0.0.1"),
    ],
)
def test_ssh_starts_a_rank_on_each_host_and_leaves_none(tmp_path, hosts, settings, head):
    command(tmp_path / "bin", "ssh", SSH)
    script = ["bash", str(FOLDER / "ray.sh"), "longvt_7b_rl", "trainer.experiment_name=a b"]
    calls = run(script, tmp_path, LONGVT_HOSTS=hosts, LONGVT_PORT="6401", RANKS="2", **settings)
    assert [call[1:] for call in calls] == [["0", head], ["1", head]]
    for words, _, _ in calls:
        assert composed(words).trainer.nnodes == 2 and composed(words).trainer.experiment_name == "a b"
    deadline = time.monotonic() + 10
    while mentioning(f"{tmp_path}/") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert mentioning(f"{tmp_path}/") == {}


def test_slurm_starts_a_rank_on_each_node(tmp_path):
    command(tmp_path / "bin", "srun", SRUN)
    command(tmp_path / "bin", "scontrol", "#!/bin/bash\nprintf 'n7\\nn8\\n'\n")
    script = ["bash", str(FOLDER / "slurm.sbatch"), "+ablation=dapo"]
    calls = run(script, tmp_path, SLURM_JOB_NODELIST="n[7-8]", SLURM_NNODES="2", RANKS="2")
    assert [call[1:] for call in calls] == [["0", "n7"], ["1", "n7"]]
    assert composed(calls[0][0]).trainer.nnodes == 2
    assert composed(calls[0][0]).trainer.experiment_name == "longvt_7b_rl_multinode_dapo"


def test_slurm_directives():
    found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", (FOLDER / "slurm.sbatch").read_text(), re.M)
    assert len(found) == (FOLDER / "slurm.sbatch").read_text().count("#SBATCH")
    directives = dict(found)
    # Options of sbatch(1).
    assert set(directives) <= {
        *("job-name", "nodes", "ntasks-per-node", "gpus-per-node", "exclusive", "mem", "time", "output"),
    }
    assert directives["ntasks-per-node"] == "1"
    recipe = compose_recipe("longvt_7b_rl_multinode").trainer
    assert int(directives["nodes"]) == recipe.nnodes and int(directives["gpus-per-node"]) == recipe.n_gpus_per_node


def test_skypilot_starts_a_rank_on_each_node(tmp_path):
    task = yaml.safe_load((FOLDER / "skypilot.yaml").read_text())
    # Of a task in SkyPilot 0.14; its variables are text.
    assert set(task) == {"name", "num_nodes", "resources", "workdir", "envs", "setup", "run"}
    assert all(isinstance(value, str) for value in task["envs"].values())
    assert int(task["envs"]["LONGVT_PORT"]) != 6380
    sky = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "4"}
    variables = {**task["envs"], **sky, "SKYPILOT_NODE_RANK": "0", "LONGVT_SHARED": "/shared"}
    ((words, rank, head),) = run(["bash", "-c", task["run"]], tmp_path, **variables)
    assert (rank, head) == ("0", "10.0.0.1")
    recipe = composed(words)
    assert (recipe.trainer.nnodes, recipe.trainer.n_gpus_per_node) == (2, 4)
    assert recipe.data.longvt.video_root == "/shared/source"
    (setup,) = shlex.split(task["setup"], comments=True)[1:2]
    assert (FOLDER.parents[1] / setup).is_file()


def test_kuberay_runs_on_its_cluster():
    variables = {
        "LONGVT_IMAGE": "registry/longvt:0.1.0",
        "LONGVT_CLAIM": "longvt",
        "LONGVT_WORKERS": "1",
        "LONGVT_NODES": "2",
        "LONGVT_RECIPE": "longvt_7b_rl_multinode",
        "LONGVT_JUDGE": "http://judge:8000/v1",
    }
    text = (FOLDER / "kuberay.yaml").read_text()
    job = yaml.safe_load(string.Template(text).substitute(variables))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    # RayJobSpec, RayClusterSpec, HeadGroupSpec and WorkerGroupSpec of KubeRay's v1 API.
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert set(spec) <= {
        *("entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"),
    }
    assert set(cluster) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert set(head) == {"rayStartParams", "template"}
    assert set(workers) == set(head) | {"groupName", "replicas", "minReplicas", "maxReplicas"}
    assert workers["replicas"] == 1 and spec["shutdownAfterJobFinishes"] is True
    lock = (FOLDER.parents[1] / "constraints" / "common.txt").read_text()
    assert f"ray=={cluster['rayVersion']}" in lock.splitlines()
    for template in (head["template"], workers["template"]):
        (container,) = template["spec"]["containers"]
        assert container["image"] == "registry/longvt:0.1.0"
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in template["spec"]["volumes"]}
    program, *words = shlex.split(spec["entrypoint"])
    assert program == "longvt" and "--joined" in words
    assert composed(words).trainer.nnodes == 2


def test_the_image_is_made_of_what_is_here():
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    assert "RUN PIP_NO_CACHE_DIR=1 bash constraints/install.sh --cuda" in lines
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    assert {".git", ".venv"} <= set(ignored) and not {"constraints", "longvt_plugins", "recipes"} & set(ignored)
