"""``longvt verify MODEL``: proves that the trainer sees exactly what the rollout engine saw, with this checkpoint."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from longvt_plugins.errors import ConfigError
from longvt_plugins.tokens.profiles import DEFAULT, PROFILES, profile_named

from . import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="folder of a Qwen2.5-VL or Qwen3-VL checkpoint")
    parser.add_argument(
        "--profile", choices=tuple(PROFILES), default=DEFAULT, help=f"media profile (default {DEFAULT})"
    )
    parser.add_argument(
        "--engine",
        choices=("vllm", "scripted"),
        default="vllm",
        help="scripted: no engine, everything but log-probabilities",
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the engine's weights")


def run(args: argparse.Namespace) -> Outcome:
    """Run all checks.

    Raises:
        ConfigError: the model is not a local checkpoint of a known family.
        ProfileError: the profile is not offered for this model.
    """
    if not Path(args.model, "config.json").is_file():
        raise ConfigError(args.model, "is not a checkpoint folder (no config.json)", "Download or merge it first.")
    from longvt_plugins.verify.run import verify
    from longvt_plugins.verify.session import Session

    with tempfile.TemporaryDirectory(prefix="longvt-verify-") as folder:
        session = Session(args.model, Path(folder), profile_named(args.profile), args.engine, args.dtype)
        session.profile.check_model(session.spec.family)
        findings = verify(session)
    lines = [f"{'ok  ' if finding.ok else 'FAIL'} {finding.check:<14} {finding.detail}" for finding in findings]
    ok = all(finding.ok for finding in findings)
    lines.append(
        f"{args.profile}, {args.engine} {args.dtype}: "
        + ("the trainer sees what the engine saw" if ok else "do not train on this")
    )
    data = {
        "model": args.model,
        "profile": args.profile,
        "engine": args.engine,
        "dtype": args.dtype,
        "findings": [vars(finding) for finding in findings],
    }
    return Outcome(ok=ok, text="\n".join(lines), data=data)
