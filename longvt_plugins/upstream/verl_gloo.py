"""Name gloo once for a process group on the CPU. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools


def apply(distributed) -> None:
    """Wrap ``verl.utils.distributed.initialize_global_process_group_ray``."""
    original = distributed.initialize_global_process_group_ray

    @functools.wraps(original)
    def initialize(timeout_second=None, backend=None):
        return original(timeout_second=timeout_second, backend=backend or "cpu:gloo")

    distributed.initialize_global_process_group_ray = initialize
