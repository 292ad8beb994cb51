"""Pruning a CUDA library to one GPU generation, on fat binaries made here."""

import importlib.util
import struct
from pathlib import Path

spec = importlib.util.spec_from_file_location(
    "gpu_code", Path(__file__).parents[2] / "constraints" / "offline" / "gpu_code.py"
)
gpu_code = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gpu_code)

PTX, MACHINE = 1, 2


def container(*entries: tuple[int, int]) -> bytes:
    """A fat binary whose entries ``(kind, architecture)`` carry 100 bytes of their architecture's number."""
    body = b""
    for kind, architecture in entries:
        head = struct.pack("<HHIQ", kind, 0x101, 64, 100).ljust(28, b"\1") + struct.pack("<I", architecture)
        body += head.ljust(64, b"\1") + bytes([architecture]) * 100
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def kept(library: bytes, architecture: int) -> list[tuple[int, int]]:
    """What is left of it; checks that size and everything around payloads stay."""
    pruned = bytearray(library)
    before, after = gpu_code.keep_one(pruned, architecture)
    entries = [entry for entries in gpu_code.containers(pruned) for entry in entries]
    left = []
    for entry in entries:
        payload = pruned[entry.start : entry.start + entry.size]
        assert payload in (bytes(100), bytes([entry.architecture]) * 100)
        if any(payload):
            left.append((entry.kind, entry.architecture))
    blank = bytearray(library)
    for entry in entries:
        for data in (blank, pruned):
            data[entry.start : entry.start + entry.size] = bytes(entry.size)
    assert blank == pruned
    assert (before, after) == (100 * len(entries), 100 * len(left))
    return left


def test_machine_code_of_the_generation_stays():
    library = b"code" + container((PTX, 80), (MACHINE, 80), (MACHINE, 90), (MACHINE, 120)) + b"more"
    assert kept(library, 90) == [(MACHINE, 90)]
    assert kept(library, 80) == [(MACHINE, 80)]


def test_a_later_minor_number_runs_the_code_of_an_earlier_one():
    library = container((MACHINE, 80), (MACHINE, 86), (MACHINE, 90))
    assert kept(library, 89) == [(MACHINE, 86)]


def test_without_machine_code_the_newest_ptx_that_can_be_compiled_stays():
    library = container((PTX, 75), (PTX, 80), (PTX, 100), (MACHINE, 80), (MACHINE, 120))
    assert kept(library, 90) == [(PTX, 80)]


def test_each_container_is_judged_by_itself():
    library = container((MACHINE, 90)) + b"\0" * 8 + container((MACHINE, 120)) + container((PTX, 90), (MACHINE, 80))
    assert kept(library, 90) == [(MACHINE, 90), (PTX, 90)]


def test_bytes_that_only_look_like_a_container_are_left_alone():
    alike = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 64) + b"\7" * 64
    beyond = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 1 << 40)
    library = bytearray(alike + beyond)
    assert gpu_code.keep_one(library, 90) == (0, 0)
    assert library == alike + beyond
