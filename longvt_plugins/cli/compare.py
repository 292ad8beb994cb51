"""``longvt compare A B``: two results of ``longvt evaluate``, question by question."""

from __future__ import annotations

import argparse

from longvt_plugins.evaluation.compare import compare
from longvt_plugins.evaluation.summary import table

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", help="folder of a result")
    parser.add_argument("b", help="folder of another, with another model or another mode")


def run(args: argparse.Namespace) -> Outcome:
    """Raises:
    LongVTError: no results, unlike ones, or unfinished ones.
    """
    found = compare(args.a, args.b)
    difference = "-" if found.difference is None else f"{found.difference:+.3f}"
    lines = [
        table(list(zip(found.headers, (found.a, found.b), strict=True))),
        f"{found.paired} questions with two answer scores: {difference}; {found.better} better, {found.worse} worse "
        f"(sign test p = {found.p:.2g})",
    ]
    data = {"a": found.a.as_dict(), "b": found.b.as_dict()}
    data |= {key: getattr(found, key) for key in ("paired", "difference", "better", "worse", "p")}
    return Outcome(True, "\n".join(lines), data)
