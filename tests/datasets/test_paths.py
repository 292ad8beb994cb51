"""Where a path or URL of a row lies on this machine."""

from __future__ import annotations

import pytest

from longvt_plugins.datasets.paths import local_path


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("file:///x/sub/a%20b.mp4", "sub/a b.mp4"),
        ("file:///x/a#1.mp4", "a#1.mp4"),
        ("file://localhost/x/why?;.mp4", "why?;.mp4"),
        ("file://sub/a b.mp4", "sub/a b.mp4"),
        ("/x/sub/a b.mp4", "sub/a b.mp4"),
        ("a#1.mp4", "a#1.mp4"),
    ],
)
def test_the_longest_ending_below_the_root_whatever_stands_in_a_name(tmp_path, url, found):
    (tmp_path / "sub").mkdir()
    for name in ("sub/a b.mp4", "a b.mp4", "a#1.mp4", "a", "why?;.mp4", "why"):
        (tmp_path / name).touch()
    assert local_path(url, tmp_path) == str(tmp_path / found)
