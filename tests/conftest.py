"""Fixtures that cost: one small checkpoint with its data, and one real training run, each once a session."""

from __future__ import annotations

import os

os.environ.setdefault("VERL_PLATFORM", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import importlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from longvt_plugins.testing import videos
from longvt_plugins.video import node_store

# The package exports the function of the same name.
probe_module = importlib.import_module("longvt_plugins.video.probe")

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Demo:
    """A folder laid out as the recipe ``longvt_demo`` expects it."""

    folder: Path

    @property
    def overrides(self) -> list[str]:
        return [f"longvt.run={self.folder}"]

    def compose(self, *overrides: str):
        from longvt_plugins.testing.recipe import compose_recipe

        return compose_recipe("longvt_demo", [*self.overrides, *overrides])


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Demo:
    """Two videos with their questions, and a checkpoint of random weights."""
    from data_prep.demo_footage import prepare
    from longvt_plugins.testing.teach import Setting, texts_of
    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl

    demo = Demo(tmp_path_factory.mktemp("demo"))
    prepare(demo.folder / "data", videos=2)
    make_tiny_qwen2_5_vl(demo.folder / "model", texts_of(Setting.of(demo.compose())), hidden=64)
    return demo


@pytest.fixture(scope="session")
def tokenizer(demo):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(demo.folder / "model")


@pytest.fixture(scope="session")
def dataset(demo, tokenizer):
    """The validation rows through ``LongVTDataset``."""
    from transformers import AutoProcessor

    from longvt_plugins.datasets import LongVTDataset

    data = demo.compose().data
    return LongVTDataset(str(data.val_files), tokenizer, data, AutoProcessor.from_pretrained(demo.folder / "model"))


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Generated videos that decode."""
    return videos.good_videos(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def bad(tmp_path_factory):
    """Files that do not."""
    return videos.bad_files(tmp_path_factory.mktemp("bad"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A clip store and an index memory of this test's own."""
    monkeypatch.setenv(node_store.DIRECTORY_VARIABLE, str(tmp_path / "store"))
    monkeypatch.setattr(node_store, "_store", None)
    monkeypatch.setattr(probe_module, "_indices", probe_module.OrderedDict())
    return tmp_path / "store"
