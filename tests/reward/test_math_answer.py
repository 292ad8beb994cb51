"""Mathematical answers through the real math-verify, and expressions that never end."""

import pytest

from longvt_plugins.reward import math_answer
from longvt_plugins.reward.math_answer import match_math, unboxed

pytest.importorskip("math_verify", reason="the extra 'math' is not installed")


@pytest.mark.parametrize(
    ("prediction", "truth", "match"),
    [
        (r"\boxed{\frac{1}{2}}", "0.5", "correct"),
        (r"$\frac{1}{2}$", r"\frac{2}{4}", "correct"),
        (r"\boxed{x^2 + 2x + 1}", r"(x+1)^2", "correct"),
        (r"\boxed{12}", "12", "correct"),
        (r"\boxed{13}", "12", "incorrect"),
        (r"\boxed{\frac{1}{3}}", "0.5", "incorrect"),
        (r"I think \boxed{1} no \boxed{2}", "2", "correct"),
        (None, "2", "incorrect"),
        (None, "5!", "incorrect"),
        ("5", "5!", "incorrect"),
        ("120", "5!", "correct"),
        ("22", "2\u00b2", "incorrect"),
        ("4", "2\u00b2", "correct"),
        ("x\u00b2", "x^2", "correct"),
        ("f", "f'", "undecided"),
        ("f'", "f'", "correct"),
        ("2", "2\u00bd", "undecided"),
        (r"\boxed{}", "2", "undecided"),
        ("2", "", "undecided"),
        ("x" * 5000, "2", "undecided"),
        ("five", "5", "undecided"),
        ("the answer is B", "B", "correct"),
        ("红色", "红", "undecided"),
        ("triangle ABC", r"\triangle ABC", "undecided"),
        ("sin x", r"\cos x", "incorrect"),
        ("5 cm", "7 cm", "incorrect"),
    ],
)
def test_match(prediction, truth, match):
    assert match_math(prediction, truth) == match


def test_unboxed_balances_braces():
    assert unboxed(r"a \boxed{\frac{1}{2}} b") == r"\frac{1}{2}"
    assert unboxed(r"\boxed{1") == r"\boxed{1"
    assert unboxed("plain") == "plain"


def test_an_expression_that_never_ends_is_undecided_and_the_next_one_is_decided(monkeypatch):
    monkeypatch.setattr(math_answer, "DEADLINE_S", 1.0)
    assert match_math(r"\boxed{9^{9^{9^{9^{9}}}}}", r"2^{3^{4^{5^{6}}}}") == "undecided"
    assert match_math(r"\boxed{\frac{3}{6}}", "0.5") == "correct"


def test_without_math_verify_it_is_undecided(monkeypatch):
    monkeypatch.setattr(math_answer.importlib.util, "find_spec", lambda name: None)
    assert match_math(r"\frac{1}{2}", r"\frac{2}{4}") == "undecided"
