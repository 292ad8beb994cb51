"""Two results, question by question. Only like is compared with like: one thing may differ, the model or the mode."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import comb

from longvt_plugins.errors import ConfigError

from .results import Header, differences, judges_of, read_result
from .summary import Summary

ONE_JUDGE = "Evaluate again, in new folders, with one judge; judge.model and judge.revision name it."


@dataclass(frozen=True)
class Comparison:
    """``a`` and ``b`` are of all records of each; the rest is of the questions that both have an answer score for."""

    headers: tuple[Header, Header]
    a: Summary
    b: Summary
    paired: int
    difference: float | None
    """Mean answer score of b less that of a."""
    better: int
    """Questions that b answers better."""
    worse: int
    p: float
    """Two-sided sign test of ``better`` against ``worse``."""


def compare(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> Comparison:
    """Compare the results in two folders.

    Raises:
        ConfigError: they differ in more than the model, or than the mode; one is not finished; or more than one judge
            decided answers.
        DataError: a folder holds no result.
    """
    (header_a, records_a), (header_b, records_b) = read_result(a), read_result(b)
    unlike = differences(header_a, header_b)
    subjects = [line for line in unlike if line.startswith(("model:", "weights:", "mode:"))]
    if len(subjects) < len(unlike) or len(subjects) > 1:
        shown = "; ".join(line for line in unlike if len(subjects) > 1 or line not in subjects)
        raise ConfigError(
            f"{a} and {b}", f"are unlike: {shown}", "Evaluate again, with one thing changed: model or mode."
        )
    for folder, header, records in ((a, header_a, records_a), (b, header_b, records_b)):
        if len(records) < header.questions:
            rule = f"has {len(records)} of {header.questions} questions"
            raise ConfigError(str(folder), rule, "Finish it: run its 'longvt evaluate' again.")
    judges = judges_of(records_a.values()), judges_of(records_b.values())
    if len(judges[0] | judges[1]) > 1:
        shown = "; ".join(
            f"{folder} by {', '.join(sorted(ids)) or 'none'}" for folder, ids in zip((a, b), judges, strict=True)
        )
        raise ConfigError(f"{a} and {b}", f"were not judged by one judge: {shown}", ONE_JUDGE)
    scores = [(records_a[id].reward.acc, records_b[id].reward.acc) for id in records_a]
    pairs = [(x, y) for x, y in scores if x is not None and y is not None]
    better, worse = sum(y > x for x, y in pairs), sum(y < x for x, y in pairs)
    return Comparison(
        headers=(header_a, header_b),
        a=Summary.of(records_a.values(), header_a.questions),
        b=Summary.of(records_b.values(), header_b.questions),
        paired=len(pairs),
        difference=sum(y - x for x, y in pairs) / len(pairs) if pairs else None,
        better=better,
        worse=worse,
        p=sign_test(better, worse),
    )


def sign_test(better: int, worse: int) -> float:
    """Chance that fair coins fall at least as unevenly as this."""
    count, least = better + worse, min(better, worse)
    return min(1.0, 2 * sum(comb(count, k) for k in range(least + 1)) / 2**count)
