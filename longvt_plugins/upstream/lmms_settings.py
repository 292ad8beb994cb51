"""Refuse settings that lmms-engine accepts and does not carry out. Reason and end: ``ledger.py``."""

from __future__ import annotations

import functools


def apply(runner) -> None:
    """Wrap ``lmms_engine.train.runner.TrainRunner.__init__``."""
    original = runner.TrainRunner.__init__

    @functools.wraps(original)
    def check_first(self, config):
        from longvt_plugins.datasets.lmms.options import refuse_silently_wrong

        refuse_silently_wrong(config)
        original(self, config)

    runner.TrainRunner.__init__ = check_first
