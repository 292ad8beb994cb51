"""Each test here has a clip store of its own."""

import pytest


@pytest.fixture(autouse=True)
def _own_store(store):
    pass
