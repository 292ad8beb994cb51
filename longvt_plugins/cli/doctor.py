"""``longvt doctor``: is this machine, or every node of a Ray cluster, able to run?"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from longvt_plugins.cli import Outcome
from longvt_plugins.doctor.examine import NAMES, Options, Result, choose, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="without the Ray actor and the vLLM process")
    parser.add_argument("--only", metavar="CHECKS", default="", help=f"some of {','.join(NAMES)}")
    parser.add_argument("--gpu", action="store_true", help="having no GPU is a fault")
    parser.add_argument("--judge", metavar="URL", help="is this endpoint (with /v1) fit to judge, too?")
    parser.add_argument("--ray", metavar="ADDRESS", nargs="?", const="auto", help="each node of this cluster instead")
    parser.add_argument("--nodes", type=int, default=0, metavar="N", help="with --ray: how many there must be")
    parser.add_argument("--wait", type=float, default=0, metavar="S", help="with --ray: seconds to wait for the nodes")
    parser.add_argument("--path", action="append", default=[], help="with --ray: must exist on every node; repeatable")


def run(args: argparse.Namespace) -> Outcome:
    """One line per finding, and one per check that found nothing.

    Raises:
        ConfigError: ``--only`` names no check, or one that the other options leave out; ``--judge`` is no URL; options
            of a cluster without ``--ray``.
    """
    options = Options(args.gpu, args.judge, args.ray, args.nodes, args.wait, tuple(args.path))
    names = choose(options, [name for name in args.only.split(",") if name], args.quick)
    results = list(examine(options, names, say=True))
    found = [finding for result in results for finding in result.findings]
    data = {
        "findings": [asdict(finding) for finding in found],
        "facts": {result.check.name: result.facts for result in results if result.facts},
        "skipped": {result.check.name: result.skipped for result in results if result.skipped},
    }
    return Outcome(ok=not found, text="\n".join(line for result in results for line in _lines(result)), data=data)


def _lines(result: Result) -> list[str]:
    if result.findings:
        return [f"FAIL {finding}" for finding in result.findings]
    if result.skipped:
        return [f"skip {result.check.name}: {result.skipped}"]
    return [f"ok   {result.check.name}: {'; '.join(result.facts) or result.check.about}"]
