"""Generated videos once per session; a clip store and an index memory of its own for each test."""

import importlib

import pytest

from longvt_plugins.testing import videos
from longvt_plugins.video import node_store

# The package exports the function of the same name.
probe_module = importlib.import_module("longvt_plugins.video.probe")


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    return videos.good_videos(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def bad(tmp_path_factory):
    return videos.bad_files(tmp_path_factory.mktemp("bad"))


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv(node_store.DIRECTORY_VARIABLE, str(tmp_path / "store"))
    monkeypatch.setattr(node_store, "_store", None)
    monkeypatch.setattr(probe_module, "_indices", probe_module.OrderedDict())
    return tmp_path / "store"
