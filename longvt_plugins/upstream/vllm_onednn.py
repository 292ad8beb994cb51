"""Keep plain torch weights in vLLM's CPU linear layers. Reason and end: ``ledger.py``."""

from __future__ import annotations

import os


def register() -> None:
    """Entry point of ``vllm.general_plugins``: vLLM calls it in each of its processes."""
    if os.environ.get("VERL_PLATFORM", "").strip().lower() != "cpu":
        return
    import vllm._custom_ops as ops

    ops._supports_onednn = False
