"""All checks, in order. A check is not made where one that it builds on has found a fault: it would find the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from longvt_plugins.errors import ConfigError, LongVTError
from longvt_plugins.launch.finding import Finding

from . import gpu, machine, media, packages, plugin


@dataclass(frozen=True)
class Options:
    """What the user asked for. See ``longvt doctor --help``."""

    gpu: bool = False
    judge: str | None = None
    ray: str | None = None
    nodes: int = 0
    wait_s: float = 0.0
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    name: str
    about: str
    look: Callable[[Options], Iterator[Finding | str]]
    """Yields what is wrong, and facts."""
    after: tuple[str, ...] = ()
    """Not made where one of these found a fault."""
    slow: bool = False
    wanted: Callable[[Options], bool] = lambda options: options.ray is None
    remedy: str = "Leave --ray out: it examines the nodes instead."
    """Where it is named and not wanted."""


@dataclass
class Result:
    check: Check
    findings: list[Finding] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    skipped: str = ""
    """Why it was not made."""


def _judge(options: Options) -> Iterator[Finding | str]:
    from .judge import judge

    return judge(options.judge)


def _nodes(options: Options) -> Iterator[Finding | str]:
    from .cluster import nodes

    return nodes(options.ray, options.nodes, options.wait_s, options.paths, options.gpu)


CHECKS = (
    Check("python", "Python 3.11 or 3.12", lambda _: packages.python()),
    Check("packages", "what a run needs is installed", lambda _: packages.missing()),
    Check("versions", "the tested versions", lambda _: packages.versions()),
    Check("duplicates", "one provider of cv2 and decord", lambda _: packages.duplicates()),
    Check("engine", "a rollout engine", lambda _: packages.engine()),
    Check("entry-point", "verl and vLLM know the plugin", lambda _: plugin.entry_points()),
    Check("decoders", "video decodes", lambda _: media.decoders()),
    Check("shared-memory", "room for weights and Ray", lambda _: machine.shared_memory()),
    Check("clip-store", "frames are shared on this node", lambda _: machine.clip_store()),
    Check("gpu", "driver, CUDA, kernels, memory", lambda options: gpu.check(options.gpu), ("python", "packages")),
    Check("plugin", "every part loads in verl", lambda _: plugin.in_verl(), ("python", "packages", "entry-point")),
    Check("recipes", "recipes resolve by name", lambda _: plugin.recipes(), ("plugin",)),
    Check("ray-actor", "... in a Ray actor", lambda _: plugin.in_ray_actor(), ("plugin", "gpu"), slow=True),
    Check("vllm-process", "... in a vLLM process", lambda _: plugin.in_vllm(), ("plugin", "engine", "gpu"), slow=True),
    Check(
        "judge",
        "fit to judge",
        _judge,
        wanted=lambda options: options.judge is not None,
        remedy="Pass the judge: --judge URL.",
    ),
    Check(
        "cluster",
        "every node of the Ray cluster",
        _nodes,
        wanted=lambda options: options.ray is not None,
        remedy="Pass the cluster: --ray ADDRESS.",
    ),
)
NAMES = tuple(check.name for check in CHECKS)


def choose(options: Options, only: Sequence[str] = (), quick: bool = False) -> list[str]:
    """Names of the checks to make.

    Raises:
        ConfigError: ``only`` names one that is none, or that the other options leave out; or options of a cluster
            stand without one.
    """
    of_cluster = {"--nodes": options.nodes, "--wait": options.wait_s, "--path": options.paths}
    if options.ray is None and any(of_cluster.values()):
        given = ", ".join(name for name, value in of_cluster.items() if value)
        raise ConfigError(given, "is of a cluster, and none is named", "Pass the cluster: --ray ADDRESS.")
    for name in only:
        if name not in NAMES:
            raise ConfigError(f"--only {name}", "is no check", f"Known are {', '.join(NAMES)}.")
    named = [check for check in CHECKS if not only or check.name in only]
    for check in named if only else ():
        if not check.wanted(options):
            raise ConfigError(f"--only {check.name}", "is not checked with these options", check.remedy)
        if quick and check.slow:
            raise ConfigError(f"--only {check.name}", "is not checked with --quick", "Leave --quick out.")
    return [check.name for check in named if check.wanted(options) and not (quick and check.slow)]


def examine(options: Options, names: Sequence[str], say: bool = False) -> Iterator[Result]:
    """Make the checks named, in the order of ``CHECKS``.

    Args:
        say: tell on stderr what is being done, since some take a while.
    """
    faulty: set[str] = set()
    for check in CHECKS:
        if check.name not in names:
            continue
        result = Result(check)
        failed = [name for name in check.after if name in faulty]
        if failed:
            result.skipped = f"after {', '.join(failed)}"
            faulty.add(check.name)
        else:
            started = time.monotonic()
            if say:
                print(f"{check.name}: {check.about} ...", end="", file=sys.stderr, flush=True)
            _make(check, options, result)
            if say:
                print(f" {time.monotonic() - started:.1f} s", file=sys.stderr)
            if result.findings:
                faulty.add(check.name)
        yield result


def _make(check: Check, options: Options, result: Result) -> None:
    try:
        for told in check.look(options):
            (result.facts if isinstance(told, str) else result.findings).append(told)
    except ConfigError:
        raise
    except LongVTError as error:
        result.findings.append(Finding.of(check.name, error))
    except Exception as error:
        why = f"could not be made: {type(error).__name__}: {error}"
        result.findings.append(Finding(check.name, check.about, why, "Reinstall: bash constraints/install.sh"))
