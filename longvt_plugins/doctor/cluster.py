"""Every node of a running Ray cluster: the same code as here, and the local checks, done there.

A node is first asked by a function that is sent by value (``probe``), because one with another package could not
load ours; where the code is the same, the node examines itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from longvt_plugins.errors import CheckError, ConfigError
from longvt_plugins.launch.finding import Finding
from longvt_plugins.launch.nodes import listens

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
    findings = []
    if len(alive) < count:
        have = ", ".join(node["NodeManagerAddress"] for node in alive)
        what, why = f"{len(alive)} of {count} nodes", f"are in the cluster at {address} after {wait_s:.0f} s: {have}"
        remedy = "See how `ray start` ended on the others: address, port, firewall, version, token (RAY_AUTH_MODE)"
        findings.append(Finding("nodes", what, why, remedy))
    ray.cloudpickle.register_pickle_by_value(probe)
    names = ["longvt-plugins", *packages.PINS, *packages.OPTIONAL_PINS]
    here = probe.probe(names, [])
    same, facts = [], []
    for node, answer in _ask_each(alive, findings, probe.probe, names, paths):
        other = list(differences(_told(node), here, answer))
        findings += other
        if other:
            facts.append(f"{_told(node)}: not examined further, its code is another")
        else:
            same.append(node)
        for path in answer["missing_paths"]:
            why = "does not exist there: rows and checkpoints are read on every node"
            remedy = "Mount the shared storage there at the same path, or start Ray in the same folder on every node"
            findings.append(Finding("path", f"{_told(node)}: {path}", why, remedy))
    for node, answer in _ask_each(same, findings, examine_here, gpu):
        findings += [Finding(**{**finding, "what": f"{_told(node)}: {finding['what']}"}) for finding in answer]
        facts.append(_told(node))
    return [asdict(finding) for finding in findings], facts


def _told(node: dict) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']})"


def answers(address: str, wait_s: float) -> bool:
    """Whether something listens at ``HOST:PORT`` within ``wait_s``."""
    deadline = time.monotonic() + wait_s
    while not (found := listens(address)) and time.monotonic() <= deadline:
        time.sleep(0.5)
    return found


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


def _ask_each(
    nodes: Sequence[dict], findings: list[Finding], function: Callable, *arguments
) -> Iterator[tuple[dict, Any]]:
    """What ``function`` returns on each node, all at once; a node that does not answer is a finding."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(function)
        asked.append((node, task.remote(*arguments)))
    for node, reference in asked:
        try:
            yield node, ray.get(reference, timeout=NODE_LIMIT_S)
        except ray.exceptions.GetTimeoutError:
            why = f"gives no answer within {NODE_LIMIT_S:.0f} s"
            findings.append(Finding("node", _told(node), why, "Look at Ray's logs there"))
        except ray.exceptions.RayError as error:
            why = f"does not answer: {str(error).strip().splitlines()[-1]}"
            findings.append(Finding("node", _told(node), why, "Look at Ray's logs there"))
