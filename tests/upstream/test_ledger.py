"""The ledger is complete, and each entry names a test that exists."""

import importlib
import importlib.metadata
from pathlib import Path

import pytest

from longvt_plugins.upstream.ledger import LEDGER

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("entry", LEDGER, ids=lambda e: e.module.rsplit(".", 1)[1])
def test_entry(entry):
    assert (ROOT / entry.test).is_file()
    module = importlib.import_module(entry.module)
    assert hasattr(module, "apply" if entry.after else "register")
    package, version = entry.version.split()
    installed = importlib.metadata.version(package).split("+")[0]
    assert installed == version, "written for another version: look whether it can go"


def test_every_module_here_is_in_the_ledger():
    listed = {entry.module.rsplit(".", 1)[1] for entry in LEDGER} | {"__init__", "ledger"}
    assert {path.stem for path in (ROOT / "longvt_plugins" / "upstream").glob("*.py")} == listed
