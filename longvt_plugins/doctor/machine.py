"""Shared memory and the clip store's disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.finding import Finding
from longvt_plugins.video import node_store

SHARED_MEMORY = Path("/dev/shm")
SHARED_BYTES = 4 << 30
"""A bucket of weights for the rollout engine (2 GiB by default) and Ray's objects: pixels of a step, tensors."""
GIB = 1 << 30


def shared_memory() -> Iterator[Finding | str]:
    total = shutil.disk_usage(SHARED_MEMORY).total
    told = f"{SHARED_MEMORY} of {total / GIB:.1f} GiB"
    if total < SHARED_BYTES:
        why = f"weights and Ray's objects pass through it: {SHARED_BYTES / GIB:.0f} GiB at least"
        remedy = "docker run --shm-size=16g; in Kubernetes mount an emptyDir of medium Memory there"
        yield Finding("shared-memory", told, why, remedy)
    yield told


def clip_store() -> Iterator[Finding | str]:
    """Is it shared by the node's processes, and is there room for what it may hold?"""
    directory = node_store.default_directory()
    variable = node_store.DIRECTORY_VARIABLE
    if directory is None:
        yield f"off: each process decodes for itself ({variable}=off)"
        return
    try:
        store = node_store.open_store(directory)
    except ConfigError as error:
        yield Finding.of("clip-store", error)
        return
    if reason := store.status().reason:
        why = f"cannot be used ({reason}): each process would decode every video for itself"
        yield Finding("clip-store", str(directory), why, f"Set {variable} to a directory of your own on a local disk")
        return
    held = sum(path.stat().st_size for path in directory.glob("??/*") if path.is_file())
    room = held + shutil.disk_usage(directory).free
    told = f"{directory}: up to {store.max_bytes / GIB:.1f} GiB, {held / GIB:.1f} held"
    if room < store.max_bytes:
        why = f"its disk has room for {room / GIB:.1f} GiB and would run full"
        remedy = f"Free disk space, lower {node_store.BYTES_VARIABLE}, or set {variable} to another disk"
        yield Finding("clip-store", told, why, remedy)
    yield told
