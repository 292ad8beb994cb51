"""``longvt pilot RECIPE CHECKPOINT``: can GRPO learn from what this checkpoint rolls out?"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, replace

from longvt_plugins.errors import ConfigError

from . import Outcome, Told, key_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="as for --config-name (longvt_7b_rl), or FILE.yaml")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder or name of the model that RL would start from")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="Hydra overrides, as for main_ppo")
    parser.add_argument("--rows", type=int, default=32, help="training rows, each a group (default 32)")
    parser.add_argument("--n", type=int, help="trajectories of a group (default: the recipe's rollout.n)")
    parser.add_argument(
        "--url",
        help="vLLM or SGLang server of the checkpoint, with /v1 and the recipe's chat template; vLLM with "
        "--logprobs-mode processed_logprobs, for an entropy at the recipe's temperature (default: starts vllm serve)",
    )
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with that server's key")
    parser.add_argument("--start-s", type=float, default=900.0, help="seconds that vllm serve may take (default 900)")
    parser.add_argument("--concurrency", type=int, default=16, help="conversations at once (default 16)")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="records (default: pilot in the recipe's longvt.run); again to go on"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Roll out, and say go or what to fix first.

    Raises:
        LongVTError: a recipe, rows or a server with which it cannot be done.
    """
    from longvt_plugins.evaluation.evaluate import template_hash, weights_hash
    from longvt_plugins.evaluation.results import open_result
    from longvt_plugins.evaluation.summary import fault_lines
    from longvt_plugins.pilot import plan
    from longvt_plugins.pilot.figures import Figures
    from longvt_plugins.pilot.report import report
    from longvt_plugins.pilot.server import serve, served_model
    from longvt_plugins.pilot.verdict import verdict

    recipe = plan.read_recipe(args.recipe, args.checkpoint, args.overrides)
    how = plan.evaluation_of(recipe)
    n = recipe.actor_rollout_ref.rollout.n if args.n is None else args.n
    if n < 2 or args.rows < 1:
        raise ConfigError(f"--rows {args.rows} --n {n}", "a group has at least 2 trajectories", "Raise them.")
    output = args.output or os.path.join((recipe.get("longvt") or {}).get("run") or "runs", "pilot")
    # verl prints tool schemas and counts as it reads a dataset; this verb's output may be JSON.
    with redirect_stdout(sys.stderr):
        rollouts, left_out = plan.rollouts_of(recipe, args.checkpoint, args.rows, n)
    if not rollouts:
        raise ConfigError(f"{args.rows} rows", "all show pictures, which pilot cannot send", "Pass --rows with more.")
    told = Told(f"{{}} of {len(rollouts)} trajectories")
    key = key_of(args.api_key_env)
    model = served_model(args.url, key) if args.url else args.checkpoint
    template = None if args.url else recipe.actor_rollout_ref.model.custom_chat_template
    shown = template_hash(template.encode() if template else None)
    evaluation = replace(how, model=model, api_key=key, template=shown, weights=weights_hash(args.checkpoint))
    # A folder that holds something else is refused before a server costs minutes.
    with open_result(output, evaluation.header(rollouts)):
        pass
    with nullcontext(args.url) if args.url else serve(recipe, args.checkpoint, output, args.start_s) as url:
        records = asyncio.run(replace(evaluation, url=url).run(rollouts, output, args.concurrency, told))
    groups = recipe.algorithm.filter_groups
    metric = groups.metric if groups.enable else None
    found = Figures.of(records.values(), metric)
    reasons = verdict(found, n, offers_tool=evaluation.mode == "crops")
    head = f"{found.groups} rows x {n} trajectories of {args.recipe} from {args.checkpoint}; records: {output}"
    if left_out:
        head += f"; {left_out} rows with pictures left out"
    lines = [head, *fault_lines(records.values()), report(found, n, metric, reasons)]
    data = {"n": n, "left_out": left_out, "output": output, "go": not reasons, "figures": found.as_dict()}
    data["reasons"] = [asdict(reason) for reason in reasons]
    return Outcome(not reasons, "\n".join(lines), data)
