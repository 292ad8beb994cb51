"""Python and the packages of this environment, from their metadata alone."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator

from longvt_plugins.launch.finding import Finding

INSTALL = "bash constraints/install.sh installs the tested versions"
PINS = {
    "verl": "0.9.1",
    "ray": "2.60.0",
    "torch": "2.11.0",
    "transformers": "5.8.1",
    "TransferQueue": "0.1.11",
    "tensordict": "0.10.0",
    "av": "15.1.0",
}
"""What a run of GRPO needs."""
OPTIONAL_PINS = {"lmms-engine": "0.1.4", "vllm": "0.24.0"}
"""Judged where they are installed."""
WHY = {
    "transformers": "lmms-engine 0.1.4 refuses 5.9 and later, which verl's vllm extra pins",
    "vllm": "work-arounds of this package patch it by name",
    "verl": "the trainer and the agent loop inherit from classes of this version",
}
ENGINES = ("vllm", "sglang")
PROVIDERS = {
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "decord": ("decord", "eva-decord", "decord2"),
}
"""Packages that install the same module over each other."""


def version(name: str) -> str | None:
    """Installed version without its local part (``2.11.0+cu130``: ``2.11.0``); ``None``: not installed."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def python() -> Iterator[Finding | str]:
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        yield Finding("python", f"Python {platform.python_version()}", "verl, av and numpy need 3.11 or 3.12", INSTALL)
    yield platform.python_version()


def missing() -> Iterator[Finding | str]:
    for name, want in PINS.items():
        if version(name) is None:
            yield Finding("packages", name, f"is not installed ({want} is tested)", INSTALL)
    yield f"{sum(1 for _ in importlib.metadata.distributions())} installed"


def versions() -> Iterator[Finding | str]:
    for name, want in (PINS | OPTIONAL_PINS).items():
        have = version(name)
        if have not in (None, want):
            why = f"; {WHY[name]}" if name in WHY else ""
            yield Finding("versions", f"{name} {have}", f"{want} is tested{why}", INSTALL)
    yield ", ".join(f"{name} {version(name)}" for name in PINS | OPTIONAL_PINS if version(name))


def engine() -> Iterator[Finding | str]:
    found = [name for name in ENGINES if version(name)]
    if not found:
        yield Finding("engine", "neither vllm nor sglang", "is installed, so nothing can roll out", INSTALL)
    yield ", ".join(f"{name} {version(name)}" for name in found)


def duplicates() -> Iterator[Finding | str]:
    """The same files from two packages: harmless where they are one release, as the lock has it for cv2."""
    for module, names in PROVIDERS.items():
        found = {name: version(name) for name in names if version(name)}
        told = " and ".join(f"{name} {have}" for name, have in found.items())
        if len(found) > 1 and (module != "cv2" or len(set(found.values())) > 1):
            remedy = f"Remove all but one (pip uninstall), then reinstall that one. {INSTALL}"
            yield Finding(
                "duplicates", told, f"both install the module {module}; which one is loaded is chance", remedy
            )
        elif told:
            yield f"{module} by {told}"
