"""Broken set-ups, made of what breaks real ones: a folder that comes first on the path, and variables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import longvt_plugins

PACKAGE = Path(longvt_plugins.__file__).parent


@dataclass(frozen=True)
class Broken:
    name: str
    prepare: Callable[[Path], dict[str, str]]
    """Fills a folder that will be first on the path, and returns variables."""
    finding: str
    said: str


def installed(distribution: str, version: str) -> Callable[[Path], dict[str, str]]:
    """Metadata of a distribution, without its entry points."""

    def prepare(site: Path) -> dict[str, str]:
        folder = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        return {}

    return prepare


def hidden(distribution: str) -> Callable[[Path], dict[str, str]]:
    """As if it were not installed."""
    return startup(
        f"""
        import importlib.metadata as metadata
        version = metadata.version
        def without(name):
            if name == {distribution!r}:
                raise metadata.PackageNotFoundError(name)
            return version(name)
        metadata.version = without
        """
    )


def startup(code: str) -> Callable[[Path], dict[str, str]]:
    """Code that every Python process runs first: for what cannot be had here."""

    def prepare(site: Path) -> dict[str, str]:
        (site / "sitecustomize.py").write_text("\n".join(line.removeprefix(" " * 8) for line in code.splitlines()))
        return {}

    return prepare


def variables(**values: str) -> Callable[[Path], dict[str, str]]:
    return lambda site: values


def clip_store_in_a_file(site: Path) -> dict[str, str]:
    (site / "file").touch()
    return {"LONGVT_CLIP_STORE": str(site / "file" / "clips")}


def clip_store_larger_than_its_disk(site: Path) -> dict[str, str]:
    return {"LONGVT_CLIP_STORE": str(site / "clips"), "LONGVT_CLIP_STORE_BYTES": str(1 << 60)}


def package_without_its_loop(site: Path) -> dict[str, str]:
    shutil.copytree(PACKAGE, site / "longvt_plugins", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "longvt_plugins" / "loops" / "verl_loop.py").rename(site / "longvt_plugins" / "loops" / "loop.py")
    return {}


def hydra_plugins_of_another(site: Path) -> dict[str, str]:
    (site / "hydra_plugins").mkdir()
    (site / "hydra_plugins" / "__init__.py").touch()
    return {}


def gpu_that_is_not_passed_on(site: Path) -> dict[str, str]:
    program = site / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 580.159.04'\n")
    program.chmod(0o755)
    return {"PATH": str(site), "CUDA_VISIBLE_DEVICES": ""}


SMALL_SHARED_MEMORY = """
        import shutil
        usage = shutil.disk_usage
        def small(path):
            found = usage(path)
            return found._replace(total=64 << 20) if str(path) == "/dev/shm" else found
        shutil.disk_usage = small
        """
OLD_PYTHON = """
        import sys
        sys.version_info = (3, 10, 4, "final", 0)
        """

BROKEN = (
    Broken("python 3.10", startup(OLD_PYTHON), "python", "3.11 or 3.12"),
    Broken("no TransferQueue", hidden("TransferQueue"), "packages", "TransferQueue"),
    Broken("another verl", installed("verl", "0.8.0"), "versions", "verl 0.8.0"),
    Broken("verl's extra", installed("transformers", "5.9.0"), "versions", "lmms-engine 0.1.4 refuses 5.9"),
    Broken("two cv2", installed("opencv-contrib-python", "4.11.0.86"), "duplicates", "opencv-contrib-python 4.11.0.86"),
    Broken("two decord", installed("eva-decord", "0.6.1"), "duplicates", "decord 0.6.0 and eva-decord 0.6.1"),
    Broken("no engine", hidden("vllm"), "engine", "neither vllm nor sglang"),
    Broken("no entry point", installed("longvt-plugins", "0.1.0"), "entry-point", "is missing"),
    Broken("verl without plugins", variables(VERL_USE_EXTERNAL_PLUGINS="none"), "entry-point", "=none"),
    Broken("vLLM without plugins", variables(VLLM_PLUGINS="other"), "entry-point", "VLLM_PLUGINS=other"),
    Broken("small /dev/shm", startup(SMALL_SHARED_MEMORY), "shared-memory", "--shm-size"),
    Broken("clip store unwritable", clip_store_in_a_file, "clip-store", "cannot be used (Not a directory)"),
    Broken("clip store too large", clip_store_larger_than_its_disk, "clip-store", "would run full"),
    Broken("clip store no number", variables(LONGVT_CLIP_STORE_BYTES="16G"), "clip-store", "whole number of bytes"),
    Broken("no hydra plugin", hydra_plugins_of_another, "recipes", "does not compose by name"),
    Broken("GPU not passed on", gpu_that_is_not_passed_on, "gpu", "torch cannot use it"),
    Broken("renamed module", package_without_its_loop, "plugin", "longvt_plugins.loops.verl_loop"),
)
