"""Mathematical answers: equal expressions are equal, whatever their form. By ``math-verify`` (extra ``math``).

What it is given was written by a policy, and computer algebra on hostile input may never end (``9^{9^{9^9}}``), so
it runs in a child process that lives on between answers and is killed when one of them takes too long. Anything
but two expressions that it understands is "undecided".
"""

from __future__ import annotations

import importlib.util
import json
import re
import select
import subprocess
import sys
import threading

from .answer import Match, match_answer

DEADLINE_S = 5.0
_START_S = 60.0
_MAX_CHARACTERS = 1000
_RAISED = re.compile("[⁰¹²³⁴-⁹]+")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
# math-verify reads past these: f for f', 2 for two and a half.
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORD = re.compile("[^\\W\\d_]{3,}|[\u3400-\u9fff]")
_FUNCTIONS = {"sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "sqrt", "max", "min", "lim", "mod"}
_UNREAD = re.compile("['\u2019\u2032\u00bc-\u00be\u2150-\u215e]")


def match_math(prediction: str | None, ground_truth: str) -> Match:
    """Compare two mathematical answers; ``\\\\boxed{...}`` counts as the answer where there is one."""
    if prediction is None:
        return "incorrect"
    predicted, truth = _powers(unboxed(prediction)), _powers(unboxed(ground_truth))
    # A mark of exclamation ends a sentence there; here it is a factorial.
    by_rule = "undecided" if "!" in predicted + truth else match_answer(predicted, truth)
    if by_rule != "undecided" or not truth.strip() or max(len(predicted), len(truth)) > _MAX_CHARACTERS:
        return by_rule
    if _UNREAD.search(predicted + truth):
        return "undecided"
    found = _comparer.compare(predicted, truth)
    return "undecided" if found == "incorrect" and (_has_words(predicted) or _has_words(truth)) else found


def _has_words(text: str) -> bool:
    """math-verify takes words for products of letters: "five" is not 5 to it."""
    return any(word not in _FUNCTIONS for word in _WORD.findall(_COMMAND.sub(" ", text).casefold()))


def _powers(text: str) -> str:
    return _RAISED.sub(lambda digits: f"^{{{digits[0].translate(_LOWERED)}}}", text)


def unboxed(text: str) -> str:
    """The content of the last ``\\\\boxed{...}`` of ``text``, braces balanced; ``text`` itself without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return text
    depth, first = 0, start + len("\\boxed")
    for position in range(first, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[first + 1 : position].strip()
    return text


class _Comparer:
    """The child process, started at the first comparison."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def compare(self, prediction: str, truth: str) -> Match:
        if importlib.util.find_spec("math_verify") is None:
            return "undecided"
        with self._lock:
            try:
                reply = self._exchange(json.dumps([prediction, truth]))
            except (OSError, ValueError):
                reply = None
            if reply is None:
                self._end()
        return reply if reply in ("correct", "incorrect") else "undecided"

    def _exchange(self, line: str) -> str | None:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", __name__]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
            if self._read(_START_S) != "ready":
                return None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()
        return self._read(DEADLINE_S)

    def _read(self, within_s: float) -> str | None:
        ready, _, _ = select.select([self._child.stdout], [], [], within_s)
        return self._child.stdout.readline().strip() or None if ready else None

    def _end(self) -> None:
        if self._child:
            self._child.kill()
            self._child.wait()
            self._child.stdin.close()
            self._child.stdout.close()
        self._child = None


_comparer = _Comparer()


def _serve() -> None:
    """The child: a pair of expressions a line in, a word a line out. Ends with its parent (end of input)."""
    from math_verify import parse, verify

    print("ready", flush=True)
    for line in sys.stdin:
        prediction, truth = (_parsed(parse, text) for text in json.loads(line))
        if not prediction or not truth:
            print("undecided", flush=True)
        else:
            print("correct" if verify(truth, prediction, timeout_seconds=None) else "incorrect", flush=True)


def _parsed(parse, text: str) -> list:
    in_dollars = text if re.search(r"\$|\\\(|\\\[", text) else f"${text}$"
    return parse(in_dollars, parsing_timeout=None)


if __name__ == "__main__":
    _serve()
