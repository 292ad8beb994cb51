"""Is the answer right? Decided by rules where they are certain, and left undecided where they are not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

Match = Literal["correct", "incorrect", "undecided"]

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LONE_LETTER = re.compile(r"^\(?([A-Ha-h])\)?(?:[.:)、]\s.*)?[.。]?$", re.DOTALL)
_OPTION_LETTER = re.compile(r"^\(?([A-Za-z])\)?(?:\s*[-.:,、。)]\s*|\s+|$)(.*)$", re.DOTALL)
_LETTERED = re.compile(r"^\(?([A-Z])[.:)、]\s*(.+)$", re.DOTALL)
_AROUND = re.compile(r"(?:the )?(?:(?:correct |final )?answer(?: is)?|option)\b[: ]*", re.IGNORECASE)
_WRAPPED = re.compile(r"\*\*(.+)\*\*|\[(.+)\]|\\boxed\{(.+)\}", re.DOTALL)
_CLOSED = {"yes": True, "true": True, "no": False, "false": False}
_NUMBER = re.compile(r"^[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)$")
_QUOTED = re.compile(r"([\"'])(.*)\1", re.DOTALL)
_MAX_CHARACTERS = 4000


def extract_answer(text: str) -> str | None:
    """The text of the only ``<answer>`` in ``text``; ``None`` without one, with several, or with an empty one."""
    return read_answer(text)[0]


def read_answer(text: str) -> tuple[str | None, str]:
    """The answer as ``extract_answer`` gives it, and what is wrong where it gives ``None``."""
    answers = _ANSWER.findall(text)
    if not answers:
        return None, "no answer"
    if len(answers) > 1 or text.count("<answer>") > 1:
        return None, "several answers"
    return (answers[0].strip(), "") if answers[0].strip() else (None, "an empty answer")


def echoes(prediction: str, question: str) -> bool:
    """Whether an answer only repeats the question."""
    return bool(_normal(question)) and _normal(prediction).rstrip("?") == _normal(question).rstrip("?")


def match_answer(prediction: str | None, ground_truth: str, options: Sequence[str] | None = None) -> Match:
    """Compare an answer with the truth.

    Args:
        prediction: extracted answer; ``None`` is incorrect.
        ground_truth: the true answer: an option (its letter, text, or both), a number, or free text.
        options: the possible answers, if known, in the order of their letters.

    Returns:
        ``"undecided"`` when rules cannot tell, for example two free texts with different words.
    """
    if prediction is None:
        return "incorrect"
    if len(prediction) > _MAX_CHARACTERS:
        return "undecided"
    predicted, truth = _normal(prediction), _normal(ground_truth)
    if not truth:
        return "undecided"
    if predicted == truth:
        return "correct"
    if options:
        chosen, right = _option_index(prediction, options), _option_index(ground_truth, options)
        if right is None:
            return "undecided"
        return "correct" if chosen == right else "incorrect"
    if re.fullmatch("[A-H]", ground_truth.strip()) and (letter := _LONE_LETTER.match(_bare(prediction))):
        return "correct" if letter[1].upper() == ground_truth.strip() else "incorrect"
    if _NUMBER.match(predicted) and _NUMBER.match(truth):
        return "correct" if _value(predicted) == _value(truth) else "incorrect"
    if predicted in _CLOSED and truth in _CLOSED:
        return "correct" if _CLOSED[predicted] == _CLOSED[truth] else "incorrect"
    return "undecided"


def _option_index(answer: str, options: Sequence[str]) -> int | None:
    normal = [_normal(option) for option in _without_letters(options)]
    bare = _bare(answer)
    for said in (_normal(answer), _normal(bare)):
        if said in normal:
            return normal.index(said)
    letter = _OPTION_LETTER.match(bare)
    if letter is None:
        return None
    index = ord(letter[1].upper()) - ord("A")
    if not 0 <= index < len(options) or (letter[2] and _normal(letter[2]) != normal[index]):
        return None
    return index


def _without_letters(options: Sequence[str]) -> list[str]:
    """Options as their texts alone, where a dataset writes ``A. red``, ``B. blue``."""
    lettered = [_LETTERED.match(option.strip()) for option in options]
    if all(match and match[1] == chr(ord("A") + i) for i, match in enumerate(lettered)):
        return [match[2] for match in lettered]
    return list(options)


def _bare(answer: str) -> str:
    """An answer without what often stands around its letter."""
    text = unicodedata.normalize("NFKC", answer).strip()
    said = _AROUND.match(text)
    text = text[said.end() :] if said else text
    wrapped = _WRAPPED.fullmatch(text.rstrip("."))
    return next(filter(None, wrapped.groups())).strip() if wrapped else text


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))


def _normal(text: str) -> str:
    # NFKC makes 2 and a half of a half that is one character, and 22 of two squared.
    form = "NFC" if any(unicodedata.category(character) == "No" for character in text) else "NFKC"
    text = re.sub(r"\s+", " ", unicodedata.normalize(form, text).casefold()).strip().rstrip(".!").strip()
    quoted = _QUOTED.fullmatch(text)
    return quoted[2].rstrip(".!").strip() if quoted else text
