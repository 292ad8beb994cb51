"""A real cluster of two nodes loses one: which, and what to do, is said."""

from __future__ import annotations

from longvt_plugins.doctor.cluster import answers
from longvt_plugins.launch.nodes import NodeWatch
from longvt_plugins.testing.ray_nodes import HEAD, OTHER, free_port, left_of, start_ray, stop


def test_the_lost_node_is_named(tmp_path):
    port = free_port()
    address, common = f"{HEAD}:{port}", ["--num-cpus=1", f"--temp-dir={left_of(port)}"]
    head = ["--head", f"--port={port}", f"--node-ip-address={HEAD}", "--include-dashboard=false", *common]
    started = [start_ray(head, tmp_path, tmp_path / "head.log")]
    try:
        assert answers(address, 60), (tmp_path / "head.log").read_text()
        log = tmp_path / "other.log"
        started.append(start_ray([f"--address={address}", f"--node-ip-address={OTHER}", *common], tmp_path, log))
        while "Ray runtime started" not in log.read_text():
            assert started[1].poll() is None, log.read_text()
        watch = NodeWatch(address)
        assert watch.lost(wait_s=10) is None
        started[1].terminate()
        said = watch.lost(wait_s=90)
        watch.stop()
        assert said.startswith(f"node {OTHER} (") and "was lost" in said and "start the same command again" in said
    finally:
        stop(*started, folder=left_of(port))
