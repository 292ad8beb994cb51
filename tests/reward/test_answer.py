"""Answers are right, wrong, or undecided; never guessed."""

import pytest

from longvt_plugins.reward import extract_answer, match_answer

COLOURS = ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>x</think><answer> red </answer>", "red"),
        ("<answer>a\nb</answer>", "a\nb"),
        ("<answer>red</answer><answer>blue</answer>", None),
        ("<answer></answer>", None),
        ("red", None),
        ("<answer>red", None),
        ("", None),
    ],
)
def test_extract(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("prediction", "truth", "options", "match"),
    [
        ("red", "red", COLOURS, "correct"),
        ("Red.", "red", COLOURS, "correct"),
        ("C", "red", COLOURS, "correct"),
        ("(c)", "red", COLOURS, "correct"),
        ("C. red", "C", COLOURS, "correct"),
        ("C. blue", "red", COLOURS, "incorrect"),
        ("D", "red", COLOURS, "incorrect"),
        ("not red", "red", COLOURS, "incorrect"),
        ("blue or red", "red", COLOURS, "incorrect"),
        (None, "red", COLOURS, "incorrect"),
        ("red", "purple", COLOURS, "undecided"),
        ("7", "7", None, "correct"),
        ("7.0", "7", None, "correct"),
        ("1,000", "1000", None, "correct"),
        (".5", "0.5", None, "correct"),
        (".5", "5", None, "incorrect"),
        ("12345678901234567890", "12345678901234567891", None, "incorrect"),
        ("4", "2\u00b2", None, "undecided"),
        ("22", "2\u00b2", None, "undecided"),
        ("'red.'", "red", None, "correct"),
        ("f", "f'", None, "undecided"),
        ("5!", "5", None, "correct"),
        ("8", "7", None, "incorrect"),
        ("yes", "no", None, "incorrect"),
        ("YES", "yes", None, "correct"),
        ("\uff52\uff45\uff44", "red", None, "correct"),
        ("a cat on a mat", "the cat sat", None, "undecided"),
        ("seven", "7", None, "undecided"),
        ("red", "", None, "undecided"),
        ("x" * 10_000, "x", None, "undecided"),
        ("B", "B", None, "correct"),
        ("b.", "B", None, "correct"),
        ("(B) a dog", "B", None, "correct"),
        ("C. a cat", "B", None, "incorrect"),
        ("a dog", "A", None, "undecided"),
        ("A dog", "A", None, "undecided"),
        ("B or C", "B", None, "undecided"),
        ("**B**", "B", None, "correct"),
        ("Yes", "true", None, "correct"),
        ("no", "True", None, "incorrect"),
    ],
)
def test_match(prediction, truth, options, match):
    assert match_answer(prediction, truth, options) == match


@pytest.mark.parametrize("options", [COLOURS, ["A. blue", "B. green", "C. red"], ["(A) blue", "(B) green", "(C) red"]])
@pytest.mark.parametrize(
    "form",
    ["{0}", "({0})", "{0}.", "{0}。", "\uff08{0}\uff09", "[{0}]", "**{0}**", "\\boxed{{{0}}}", "{0}. {1}", "({0}) {1}", 
     "{0}) {1}", "{0}: {1}", "{0}、{1}", "{0}\uff1a{1}", "{0} {1}", "{0} - {1}", "{0}, {1}", "{1}", "Option {0}",
     "The answer is {0}", "Answer: {0}.", "the correct answer is {1}"],
)  # fmt: skip
def test_an_option_in_every_common_form(form, options):
    for letter, text in zip("ABC", COLOURS, strict=True):
        said = form.format(letter, text)
        assert match_answer(said, "C", options) == ("correct" if letter == "C" else "incorrect"), said
        assert match_answer(said, options[2], options) == ("correct" if letter == "C" else "incorrect"), said


@pytest.mark.parametrize(
    "said", ["B or C", "C and B", "B, C", "C. blue", "C blue", "not C", "The answer is B or C", "CC"]
)
def test_what_names_no_option_or_two_is_wrong(said):
    assert match_answer(said, "C", COLOURS) == "incorrect"
