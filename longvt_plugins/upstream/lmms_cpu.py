"""Let lmms-engine's ``fsdp2_trainer`` run where ``use_cpu: true`` asks for it. Reason and end: ``ledger.py``.

Nothing changes on a GPU: the process group's backend decides, and ``use_cpu`` makes it gloo.
"""

from __future__ import annotations

import functools


def apply(process_group_manager) -> None:
    """Wrap ``lmms_engine.parallel.process_group_manager.ProcessGroupManager.__init__``."""
    import torch
    import torch.distributed as dist

    original, init_device_mesh = (
        process_group_manager.ProcessGroupManager.__init__,
        process_group_manager.init_device_mesh,
    )

    def mesh_on_cpu(device_type, *args, **kwargs):
        return init_device_mesh("cpu", *args, **kwargs)

    @functools.wraps(original)
    def init(self, *args, **kwargs):
        if dist.get_backend() == "gloo" and not torch.cuda.is_available():
            process_group_manager.init_device_mesh = mesh_on_cpu
            torch.cuda.current_device = lambda: "cpu"
            torch.cuda.get_device_name = lambda device=None: "cpu"
        original(self, *args, **kwargs)

    process_group_manager.ProcessGroupManager.__init__ = init
