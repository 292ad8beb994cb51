"""The LLM judge: is it one, what would another have said, where do two differ."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from longvt_plugins.cli import Outcome
from longvt_plugins.errors import ConfigError
from longvt_plugins.reward import RewardConfig
from longvt_plugins.reward.compare import compare
from longvt_plugins.reward.judge import Judge, JudgeConfig
from longvt_plugins.reward.judge.check import check
from longvt_plugins.reward.rescore import read_dump, rescore
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import TrajectoryRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="judge_verb", required=True, metavar="VERB")

    checking = verbs.add_parser("check", help="ask an endpoint 20 questions whose verdicts are known")
    checking.add_argument("url", help="base URL of an OpenAI-compatible server, with /v1")
    checking.add_argument("--model", help="default: the first that the server lists")
    checking.set_defaults(act=_check)

    rescoring = verbs.add_parser("rescore", help="score finished rollouts again, without rolling out")
    rescoring.add_argument("dump", type=Path, help="a step_*.jsonl, or a folder of them (the trainer's)")
    rescoring.add_argument("--judge", required=True, action="append", metavar="URL", help="may be given several times")
    rescoring.add_argument("--model", help="default: the first that the server lists")
    rescoring.add_argument("--revision", default="", help="which weights; part of the judge's id")
    rescoring.add_argument("--ledger", help="file of verdicts: those in it are not asked again")
    rescoring.add_argument("--reward", default="{}", metavar="JSON", help="the run's reward_kwargs, if not the default")
    rescoring.add_argument("-o", "--output", type=Path, required=True, help="file for the rescored trajectories")
    rescoring.set_defaults(act=_rescore)

    comparing = verbs.add_parser("compare", help="two scorings of the same rollouts")
    comparing.add_argument("a", type=Path)
    comparing.add_argument("b", type=Path)
    comparing.set_defaults(act=_compare)


def run(args: argparse.Namespace) -> Outcome:
    return args.act(args)


def _check(args: argparse.Namespace) -> Outcome:
    report = asyncio.run(check(_judge_config([args.url], model=args.model)))
    if report.fault:
        return Outcome(False, f"{report.endpoint} is no judge: {report.fault}", report.model_dump())
    lines = [
        f"{report.endpoint} serves {', '.join(report.models)}",
        f"structured output   {'by JSON schema' if report.structured else 'not supported; asked without'}",
        f"agreement           {report.agreement:.0%} of the calibration verdicts, {report.abstained} abstentions",
        f"latency             {report.latency_s:.2f} s (median, all at once); {report.seconds:.1f} s in all",
    ]
    for wrong in report.disagreements:
        said = "abstained" if wrong["said"] is None else f"said {wrong['said']:g}"
        lines.append(f"  {said}, not {wrong['score']:g}: {wrong['answer']!r} for {wrong['reference']!r}")
    lines.append("fit to judge" if report.ok else "not fit to judge: agreement is below 90%")
    return Outcome(report.ok, "\n".join(lines), report.model_dump())


def _rescore(args: argparse.Namespace) -> Outcome:
    config = _judge_config(args.judge, model=args.model, revision=args.revision, ledger=args.ledger)
    try:
        reward = RewardConfig(**json.loads(args.reward))
    except (ValueError, TypeError) as error:
        raise ConfigError("--reward", str(error), "Pass the run's reward_kwargs as a JSON object.") from error
    records = list(read_dump(args.dump))

    async def work() -> tuple[list[TrajectoryRecord], int]:
        async with Judge(config) as judge:
            return await rescore(records, judge, reward), judge.calls

    again, calls = asyncio.run(work())
    trajectory_log.write_file(args.output, again)
    changed = sum(old.reward.acc != new.reward.acc for old, new in zip(records, again, strict=True))
    abstained = sum(record.reward.abstained for record in again)
    data = {"trajectories": len(again), "changed": changed, "abstained": abstained, "requests": calls}
    text = f"{len(again)} trajectories, {changed} with another answer score, {abstained} abstained, {calls} requests"
    return Outcome(True, f"{text}\n{args.output}", {**data, "output": str(args.output)})


def _compare(args: argparse.Namespace) -> Outcome:
    found = compare(read_dump(args.a), read_dump(args.b))
    agreement = "-" if found.agreement is None else f"{found.agreement:.1%}"
    means = " and ".join("-" if mean is None else f"{mean:.3f}" for mean in found.mean_score)
    lines = [
        f"trajectories   {found.trajectories}, of which a judge was needed for {found.judged}",
        f"agreement      {agreement} of those that both decided",
        f"mean score     {means}",
        f"groups         {found.groups_changed} of {found.groups} with another advantage",
        f"direction      {found.signs_changed} trajectories pushed the other way",
        *(f"  {change:12} {count}" for change, count in sorted(found.transitions.items())),
    ]
    return Outcome(True, "\n".join(lines), found.model_dump())


def _judge_config(urls: list[str], **options) -> JudgeConfig:
    try:
        return JudgeConfig(endpoints=urls, **options)
    except ValueError as error:
        raise ConfigError(", ".join(urls), str(error), "Pass URLs like http://host:8000/v1.") from error
