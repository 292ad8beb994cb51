"""Which package of the lock comes from where: the bundle, the host, or nowhere.

The host list is what ``pip list --format=freeze`` prints on the host, or part of it. ``torch==2.11.0`` leaves torch to
the host if that is the pinned version, and sends the pinned one along if not. ``torch`` alone leaves it to the host
whatever its version. The slim list (``slim.toml``) names what GRPO with vLLM does without.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
INCLUDE = re.compile(r"-r\s+(\S+)")


def normal(name: str) -> str:
    """The name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> dict[str, str]:
    """Pins of a lock and of the locks it includes: ``{name: version}``."""
    pins = {}
    for line in _lines(path):
        if include := INCLUDE.fullmatch(line):
            pins |= read_lock(path.parent / include[1])
        elif pin := PIN.fullmatch(line):
            pins[normal(pin[1])] = pin[2]
        else:
            raise SystemExit(f"build: {path}: '{line}' is no exact pin. Write NAME==VERSION.")
    return pins


def read_host(path: Path | None) -> dict[str, str | None]:
    """``{name: version, or None for any}``."""
    host: dict[str, str | None] = {}
    for line in _lines(path) if path else ():
        if " @ " in line or line.startswith("-e "):
            continue  # Installed from a folder: such a package is never in the lock.
        name, _, version = line.partition("==")
        host[normal(name)] = version or None
    return host


@dataclass(frozen=True)
class Slim:
    """What a bundle does without: ``{name or glob below site-packages: why}``."""

    packages: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, str] = field(default_factory=dict)


def read_slim(path: Path, sm: int | None) -> Slim:
    told = tomllib.loads(path.read_text())
    packages = {normal(name): why for name, why in told["packages"].items()}
    return Slim(packages, told["paths"] | told.get(f"paths_sm_{sm}", {}), told["symbols"])


def decide(pins: dict[str, str], host: dict[str, str | None], left_out: dict[str, str]) -> dict[str, dict[str, str]]:
    """``{name: {"version", "from"}}``; from: ``bundle``, ``host``, ``host, any version`` or ``nowhere``."""
    unknown = sorted(left_out.keys() - pins.keys())
    if unknown:
        raise SystemExit(f"build: the slim list leaves out {unknown}, which the lock does not have. Remove them.")
    packages = {}
    for name, version in sorted(pins.items()):
        if name in left_out:
            source = "nowhere"
        elif name not in host or host[name] not in (version, None):
            source = "bundle"
        else:
            source = "host" if host[name] else "host, any version"
        packages[name] = {"version": version, "from": source}
    return packages


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise SystemExit(f"build: {path} cannot be read: {error.strerror}.") from error
    return [line for line in lines if line]
