"""``longvt crop``: the tool's frames as files."""

import argparse

import numpy as np
import pytest
from PIL import Image

from longvt_plugins.cli import crop
from longvt_plugins.errors import ConfigError
from longvt_plugins.testing.videos import read_numbers, write_video


def run(*words: object):
    parser = argparse.ArgumentParser()
    crop.add_arguments(parser)
    return crop.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture(autouse=True)
def no_store(monkeypatch):
    monkeypatch.setenv("LONGVT_CLIP_STORE", "off")


def test_frames_become_files(tmp_path):
    video = write_video(tmp_path / "v.mp4", 120)
    outcome = run(video, 1, 3, "-o", tmp_path / "out", "--fps", 2)
    assert outcome.ok and "2.50" not in outcome.text and "1.23" in outcome.text
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["000001.233s.png", "000001.733s.png", "000002.233s.png", "000002.733s.png"]
    assert read_numbers(np.stack([np.asarray(Image.open(file)) for file in files])) == [37, 52, 67, 82]
    assert outcome.data["files"] == [str(file) for file in files] and outcome.data["status"] == "ok"


def test_what_went_wrong_is_told(tmp_path):
    outcome = run(tmp_path / "missing.mp4", 1, 3, "-o", tmp_path / "out")
    assert not outcome.ok and "missing.mp4" in outcome.text and outcome.data["error"]["kind"] == "VideoOpenError"
    assert not (tmp_path / "out").exists()


def test_wrong_usage_is_a_configuration_error(tmp_path):
    video = write_video(tmp_path / "v.mp4", 30)
    with pytest.raises(ConfigError, match="cannot be written"):
        run(video, 0, 1, "-o", video / "below")
    with pytest.raises(ConfigError, match="fps"):
        run(video, 0, 1, "-o", tmp_path, "--fps", 0)
