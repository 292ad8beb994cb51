"""The doctor on every node of a real cluster of two: one is sound, the other has another package and lacks a path."""

from __future__ import annotations

import pytest

from longvt_plugins.doctor.cluster import answers, differences, nodes
from longvt_plugins.launch.finding import Finding
from longvt_plugins.testing.ray_nodes import HEAD, OTHER, free_port, left_of, start_ray, stop

from .broken import installed


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, patch):
    """Address of a head here, and of a node whose metadata and folder are others."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    site = tmp_path_factory.mktemp("site")
    installed("longvt-plugins", "9.9.9")(site)
    (here / "videos").mkdir()
    # Ray puts the driver's folder first on every worker's path; a clone holds metadata of its own.
    patch.chdir(here)
    port = free_port()
    common = ["--num-cpus=1", f"--temp-dir={left_of(port)}"]
    started = [start_ray(["--head", f"--port={port}", f"--node-ip-address={HEAD}", *common], here, here / "log")]
    try:
        assert answers(f"{HEAD}:{port}", 60), (here / "log").read_text()
        joining = [f"--address={HEAD}:{port}", f"--node-ip-address={OTHER}", *common]
        started.append(start_ray(joining, there, there / "log", first_on_path=site))
        yield f"{HEAD}:{port}"
    finally:
        stop(*started, folder=left_of(port))


def test_each_fault_is_named_with_its_node_and_nothing_else(cluster):
    told = list(nodes(cluster, 2, 60, ["videos"], gpu=False))
    found = [item for item in told if isinstance(item, Finding)]
    assert [finding.name for finding in found] == ["node-version", "path"]
    version, path = found
    assert version.what.startswith(f"node {OTHER} (") and version.what.endswith("longvt-plugins 9.9.9")
    assert path.what.startswith(f"node {OTHER} (") and path.what.endswith(": videos")
    assert [fact for fact in told if isinstance(fact, str) and fact.startswith(f"node {HEAD} (")]


def test_a_missing_node_is_counted(cluster):
    found = [item for item in nodes(cluster, 3, 5, [], gpu=False) if isinstance(item, Finding)]
    assert [finding.name for finding in found] == ["nodes", "node-version"]
    assert found[0].what == "2 of 3 nodes" and f"{HEAD}, {OTHER}" in found[0].why


def test_no_cluster_is_one_finding():
    (finding,) = nodes(f"{HEAD}:{free_port()}", 0, 0, [], gpu=False)
    assert finding.name == "cluster" and "nothing listens there" in finding.why


def test_what_differs_between_driver_and_node():
    here = {"python": "3.11.7", "versions": {"longvt-plugins": "1", "verl": "0.9.1", "ray": "2"}, "source": "a"}

    def told(**there) -> list[str]:
        return [finding.what for finding in differences("node x", here, {**here, **there})]

    assert told() == [] and told(python="3.11.9") == []
    assert told(python="3.12.1") == ["node x: Python 3.12.1"]
    assert told(versions={**here["versions"], "verl": None}) == ["node x: verl missing"]
    assert told(source="b") == ["node x: longvt-plugins 1"]
    missing = {**here["versions"], "longvt-plugins": None}
    assert told(versions=missing, source=None) == ["node x: longvt-plugins missing"]
