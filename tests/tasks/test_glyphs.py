"""Every character is read as itself at the sizes of an overview and of a crop, and nothing is read out of nothing."""

import numpy as np
import pytest
from PIL import Image

from longvt_plugins.tasks import glyphs
from longvt_plugins.tasks.needle import DIGIT_BOX, LETTERS, code_boxes, read_code, read_digit


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("size", [(56, 84), (64, 96), (112, 168)])
def test_codes_are_read_at_any_size(size, length):
    frame = np.full((224, 336, 3), 120, dtype=np.uint8)
    for letter in LETTERS:
        code = (letter + LETTERS[::-1])[:length]
        for character, box in zip(code, code_boxes(length), strict=True):
            glyphs.draw(frame, character, box)
        small = np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BOX))
        assert read_code(small, length) == code


@pytest.mark.parametrize("frame", [np.zeros((112, 168, 3)), np.random.default_rng(0).integers(0, 255, (112, 168, 3))])
def test_nothing_is_read_out_of_black_or_noise(frame):
    assert glyphs.read(frame.astype(np.uint8), DIGIT_BOX, "0123456789") is None


def test_a_digit_counts_only_with_its_code():
    frame = np.full((112, 168, 3), 120, dtype=np.uint8)
    glyphs.draw(frame, "7", DIGIT_BOX)
    for letter, box in zip("AC", code_boxes(2), strict=True):
        glyphs.draw(frame, letter, box)
    assert read_digit([frame], "0123456789", "AC") == "7"
    assert read_digit([frame], "0123456789", "CA") is None
