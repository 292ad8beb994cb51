"""``longvt launch NAME [OVERRIDES]``, on every node: a Ray cluster for one run, examined, watched and taken down."""

from __future__ import annotations

import argparse
import os

from longvt_plugins.cli import Outcome
from longvt_plugins.errors import ConfigError
from longvt_plugins.launch.cluster import Launch, Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    named = os.environ.get
    parser.add_argument("name", metavar="NAME", help="of a recipe, as for --config-name, or FILE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="Hydra overrides; trainer.nnodes counts nodes")
    parser.add_argument("--rank", type=int, default=named("LONGVT_RANK", "0"), help="$LONGVT_RANK; 0 is the head")
    parser.add_argument("--head", default=named("LONGVT_HEAD", "127.0.0.1"), help="$LONGVT_HEAD: host of rank 0")
    parser.add_argument("--port", type=int, default=named("LONGVT_PORT", "6379"), help="$LONGVT_PORT: of the head")
    parser.add_argument("--ip", default=named("LONGVT_IP"), help="$LONGVT_IP: of this node, if Ray takes another")
    parser.add_argument("--joined", action="store_true", help="the cluster at $RAY_ADDRESS is there already, and stays")
    parser.add_argument("--wait", type=float, default=600.0, metavar="S", help="seconds for all nodes to join")
    parser.add_argument("--idle", type=float, default=3600.0, metavar="S", help="as for longvt watch (default 3600)")
    parser.add_argument("--path", action="append", default=[], help="must exist on every node, like the recipe's data")


def run(args: argparse.Namespace) -> Outcome:
    """Returns when the run has ended, or, on the other nodes, when the head is gone.

    Raises:
        ConfigError: no such recipe, or overrides that it refuses; fewer nodes in it than ``--rank`` says; ``--joined``
            without a cluster.
    """
    if args.joined:
        args.head, args.port = _running_cluster()
    place = Place(args.rank, args.head, args.port, args.ip)
    launch = Launch(args.name, args.overrides, place, args.joined, args.wait, args.idle, args.path)
    code, message = launch.run()
    return Outcome(code == 0, f"[launch, rank {args.rank}] {message}", {"exit_code": code, "message": message})


def _running_cluster() -> tuple[str, int]:
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        rule = "--joined needs the address of a cluster"
        raise ConfigError(f"RAY_ADDRESS={address}", rule, "Set it to HOST:PORT; a job of Ray's has it set.")
    return host, int(port)
