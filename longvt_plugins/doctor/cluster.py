"""Every node of a running Ray cluster: the same code as here, and the local checks, done there.

A node is first asked by a function that is sent by value (``probe``), because one with another package could not
load ours; where the code is the same, the node examines itself.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from longvt_plugins.errors import CheckError, ConfigError
from longvt_plugins.launch.finding import Finding

from . import child, packages

LOCAL_CHECKS = (
    *("python", "packages", "versions", "duplicates", "engine", "entry-point", "plugin"),
    *("decoders", "shared-memory", "clip-store", "gpu"),
)
NODE_LIMIT_S = 300.0
INSTALL = "Install there what is installed here, in the same way, and restart Ray on that node"
NO_CLUSTER = "Start one (recipes/launch/), or name its address: longvt doctor --ray HOST:6379"


def nodes(address: str, count: int, wait_s: float, paths: Sequence[str], gpu: bool) -> Iterator[Finding | str]:
    """Args:
    address: ``HOST:PORT``, or ``auto`` for the cluster this machine belongs to.
    count: how many nodes there must be, waited for up to ``wait_s``; 0: those that are there.
    paths: must exist on every node.
    gpu: a node without a GPU is at fault.
    """
    try:
        found, facts = child.look(
            __name__,
            "ask",
            address,
            count,
            wait_s,
            list(paths),
            gpu,
            limit_s=wait_s + 2 * NODE_LIMIT_S,
            remedy=NO_CLUSTER,
        )
    except CheckError as error:
        yield Finding("cluster", f"Ray at {address}", error.rule, error.remedy)
        return
    yield from (Finding(**finding) for finding in found)
    yield from facts


def ask(address: str, count: int, wait_s: float, paths: list[str], gpu: bool) -> tuple[list[dict], list[str]]:
    """In a process of its own, as a driver of the cluster."""
    import ray

    from . import probe

    if address != "auto" and not answers(address, wait_s):
        raise ConfigError(address, f"nothing listens there after {wait_s:.0f} s", NO_CLUSTER)
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    alive = _wait_for_nodes(count, wait_s)
    findings, facts = [], []
    if len(alive) < count:
        have = ", ".join(node["NodeManagerAddress"] for node in alive)
        what, why = f"{len(alive)} of {count} nodes", f"are in the cluster at {address} after {wait_s:.0f} s: {have}"
        remedy = (
            "Look at the output of `ray start` on the others: address, port, firewall, version, token (RAY_AUTH_MODE)"
        )
        findings.append(Finding("nodes", what, why, remedy))
    ray.cloudpickle.register_pickle_by_value(probe)
    names = ["longvt-plugins", *packages.PINS, *packages.OPTIONAL_PINS]
    here = probe.probe(names, [])
    asked = {node["NodeID"]: _on(node, probe.probe, names, paths) for node in alive}
    same = {}
    for node in alive:
        answer = _answer(asked[node["NodeID"]])
        where = f"node {node['NodeManagerAddress']}"
        if isinstance(answer, str):
            why = f"does not answer: {answer}"
            findings.append(Finding("node", where, why, "Look at Ray's logs there, or leave it out"))
            continue
        where = f"{where} ({answer['host']})"
        other = list(differences(where, here, answer))
        findings += other
        if not other:
            same[where] = _on(node, examine_here, gpu)
        else:
            facts.append(f"{where}: not examined further, its code is another")
        for path in answer["missing_paths"]:
            why = "does not exist there: rows and checkpoints are read on every node"
            remedy = "Mount the shared storage there at the same path, or start Ray in the same folder on every node"
            findings.append(Finding("path", f"{where}: {path}", why, remedy))
    for where, reference in same.items():
        answer = _answer(reference)
        if isinstance(answer, str):
            findings.append(Finding("node", where, f"does not answer: {answer}", "Look at Ray's logs there"))
            continue
        findings += [Finding(**{**finding, "what": f"{where}: {finding['what']}"}) for finding in answer]
        facts.append(where)
    return [asdict(finding) for finding in findings], facts


def answers(address: str, wait_s: float) -> bool:
    """Whether something listens at ``HOST:PORT``. Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=5):
                return True
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                return False
        time.sleep(0.5)


def differences(where: str, here: dict, there: dict) -> Iterator[Finding]:
    """What a node has that is not what the driver has."""
    if here["python"].rpartition(".")[0] != there["python"].rpartition(".")[0]:
        why = f"the driver has {here['python']}: what it sends cannot be read there"
        yield Finding("node-version", f"{where}: Python {there['python']}", why, INSTALL)
    for name, version in there["versions"].items():
        if version != here["versions"][name]:
            told = f"{where}: {name} {version or 'missing'}"
            why = f"the driver has {here['versions'][name] or 'none'}, and the parts of a run must agree"
            yield Finding("node-version", told, why, INSTALL)
            if name == "longvt-plugins":
                return
    if here["source"] != there["source"]:
        why = "the same version as the driver's, but other code"
        yield Finding("node-version", f"{where}: longvt-plugins {there['versions']['longvt-plugins']}", why, INSTALL)


def examine_here(gpu: bool) -> list[dict]:
    """Runs on a node."""
    import os

    from .examine import Options, examine

    # Ray hides the GPUs of a node from a task that asked for none.
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]
    results = examine(Options(gpu=gpu), LOCAL_CHECKS)
    return [asdict(finding) for result in results for finding in result.findings]


def _wait_for_nodes(count: int, wait_s: float) -> list[dict]:
    import ray

    deadline = time.monotonic() + wait_s
    while True:
        alive = sorted((n for n in ray.nodes() if n["Alive"]), key=lambda node: node["NodeManagerAddress"])
        if len(alive) >= count or time.monotonic() > deadline:
            return alive
        time.sleep(1)


def _on(node: dict, function, *arguments):
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(function).remote(*arguments)


def _answer(reference) -> dict | list | str:
    """What came back, or in words why nothing did."""
    import ray

    try:
        return ray.get(reference, timeout=NODE_LIMIT_S)
    except ray.exceptions.GetTimeoutError:
        return f"nothing came back within {NODE_LIMIT_S:.0f} s"
    except ray.exceptions.RayError as error:
        return str(error).strip().splitlines()[-1]
