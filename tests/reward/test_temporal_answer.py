"""Time windows as answers: read as written, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longvt_plugins.reward.temporal_answer import parse_windows


@pytest.mark.parametrize(
    ("answer", "window"),
    [
        ("12.5 to 20", (12.5, 20)), ("[12.5, 20.0]", (12.5, 20)), ("12.5-20.3", (12.5, 20.3)), ("12 - 20 s", (12, 20)),
        ("from 12s to 20s", (12, 20)), ("12.50s - 20.00s", (12.5, 20)), ("(12, 20)", (12, 20)),
        ("00:12 - 00:20", (12, 20)), ("1:02:03 to 1:02:05.5", (3723, 3725.5)), ("2:30-3:00", (150, 180)),
        ("between 12 and 20 seconds.", (12, 20)), ("The event happens in 24.3 - 30.4 seconds", (24.3, 30.4)),
        ([12, 20], (12, 20)), ("0 to .5", (0, 0.5)), ("[12s, 20s]", (12, 20)), ("[00:12, 00:20]", (12, 20)),
        ("[12.5 - 20.0]", (12.5, 20)), ("Time-span: 12 to 20", (12, 20)), ("close-up from 12 to 20", (12, 20)),
        ("1m12s - 1m20s", (72, 80)), ("1分12秒到1分20秒", (72, 80)), ("2 min to 3 min", (120, 180)),
        ("1.5 minutes to 2 minutes 3.5 seconds", (90, 123.5)), ("30 s to 2 min", (30, 120)),
        ("1 h 2 min 3 s to 1:02:05", (3723, 3725)), ("00\uff1a12 至 00\uff1a20", (12, 20)),
    ],
)  # fmt: skip
def test_read(answer, window):
    assert parse_windows(answer) == [window]


@pytest.mark.parametrize(
    "answer",
    ["", "soon", "12", "12 to 20 or 30 to 40", "20 to 12", "12 to 12", "-3 to 5", "from -3 to 5",
     "\u22123 to 5", "2 to 3 min", "1 h to 2 h", "[1 s, 2 s], [3 s, 4 s]", "[12, 20", "[1, 2, 3]",
     "[[1, 2], [3]]", "1.2.3 to 5", "nan to inf", "1:2:3:4 - 5", "\x00", "9" * 5000, "[" * 5000, "[" * 998,
     f"[1, {'9' * 400}]", None, 7],
)  # fmt: skip
def test_not_read(answer):
    assert parse_windows(answer) == []


def test_a_list_of_windows_is_an_answer():
    assert parse_windows("[[1, 2], [5, 6.5]]") == [(1, 2), (5, 6.5)]


@given(st.floats(0, 9000), st.floats(0.1, 600))
def test_a_written_window_is_read_back(start_s, long_s):
    text = f"{start_s:.2f} to {start_s + long_s:.2f}"
    ((a, b),) = parse_windows(text)
    assert f"{a:.2f} to {b:.2f}" == text


@given(st.text(max_size=100))
def test_any_text_is_windows_or_nothing(text):
    assert all(start_s < end_s for start_s, end_s in parse_windows(text))
