"""Work-arounds of upstream, in one place: see ``ledger.py``."""
