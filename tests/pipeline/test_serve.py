"""A server that does not come up says why, and leaves no process."""

import pytest

from longvt_plugins.errors import StageError
from longvt_plugins.pipeline.serve import served


@pytest.mark.full
def test_a_checkpoint_that_is_none_is_the_reason(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StageError, match="ended with exit code"), served(tmp_path, "x", tmp_path / "log"):
        pass
