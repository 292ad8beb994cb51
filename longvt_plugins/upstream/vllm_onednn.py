"""Keep plain torch weights in vLLM's CPU linear layers. Reason and end: ``ledger.py``."""

from __future__ import annotations

from longvt_plugins import cpu


def register() -> None:
    """Entry point of ``vllm.general_plugins``: vLLM calls it in each of its processes."""
    if not cpu.chosen():
        return
    import vllm._custom_ops as ops

    ops._supports_onednn = False
