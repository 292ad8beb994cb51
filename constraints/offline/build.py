"""Build a bundle of the pinned environment for a GPU host that reaches no network. README.md in this folder says how.

Wheels for the host's Python and platform are fetched (pip), unpacked into one tree, slimmed, archived (tar, xz) and
cut into parts. Each part folder also holds the manifest (what is in the bundle, checksums) and ``assemble.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gpu_code
import plan

HERE = Path(__file__).parent
SOURCE_ONLY = ("antlr4-python3-runtime",)
"""Pure Python that PyPI has as source alone: built here."""
X86_CODE = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 1 << 27}]
BLOCK = 1 << 27


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], usage="build.py OUT [options] [-- PIP_OPTIONS]"
    )
    parser.add_argument("out", type=Path, help="folder that receives part1, part2, ...")
    parser.add_argument("--lock", type=Path, default=HERE.parent / "cuda.txt")
    parser.add_argument("--python", default="3.12", help="Python of the host, such as 3.12")
    parser.add_argument("--glibc", default="2.35", help="C library of the host (ldd --version), such as 2.35")
    parser.add_argument("--host", type=Path, help="what the host has: its `pip list --format=freeze`, or part of it")
    parser.add_argument("--slim", action="store_true", help="without what GRPO with vLLM does not use (slim.toml)")
    parser.add_argument("--slim-list", type=Path, default=HERE / "slim.toml", help=argparse.SUPPRESS)
    parser.add_argument("--sm", type=int, help="keep kernels of one GPU generation: 90 for H100 and H200")
    parser.add_argument("--part-mib", type=float, default=1024, help="largest part")
    parser.add_argument("--work", type=Path, help="keep wheels and tree here; wheels there are used again")
    # What stands after -- is for `pip download`, such as --index-url URL. argparse would want it beside OUT.
    argv = sys.argv[1:]
    own = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:own])
    args.pip_options = argv[own + 1 :]

    if args.out.exists() and any(not path.match("part[0-9]*") for path in args.out.iterdir()):
        raise SystemExit(f"build: {args.out} holds more than an earlier bundle. Name another folder.")
    less = plan.read_slim(args.slim_list, args.sm) if args.slim else plan.Slim()
    packages = plan.decide(plan.read_lock(args.lock), plan.read_host(args.host), less.packages)
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        wheels, tree = work / "wheels", work / "tree"
        wheels.mkdir(parents=True, exist_ok=True)
        pins = [f"{name}=={told['version']}" for name, told in packages.items() if told["from"] == "bundle"]
        if not pins:
            raise SystemExit(f"build: {args.host} has every package of {args.lock}: there is nothing to bring.")
        say(f"1/4 fetching {len(pins)} of {len(packages)} packages")
        fetch(pins, wheels, args)
        say("2/4 unpacking")
        unpack(pins, wheels, tree, args)
        say("3/4 slimming")
        slim(tree, less)
        if args.sm:
            keep_generation(tree, args.sm)
        say(f"4/4 compressing {sum(f.stat().st_size for f in files(tree)) >> 20} MiB")
        manifest = {
            "version": 1,
            "python": args.python,
            "glibc": args.glibc,
            "sm": args.sm,
            "lock": args.lock.name,
            "packages": packages,
        }
        write_parts(tree, args.out, manifest, int(args.part_mib * (1 << 20)))


def fetch(pins: list[str], wheels: Path, args: argparse.Namespace) -> None:
    source = [pin for pin in pins if pin.split("==")[0] in SOURCE_ONLY]
    if source and not all(list(wheels.glob(f"{pin.split('==')[0].replace('-', '_')}-*.whl")) for pin in source):
        pip("wheel", "--no-deps", "--wheel-dir", wheels, *args.pip_options, *source)
    ready = [pin for pin in pins if pin not in source]
    pip("download", "--no-deps", "--dest", wheels, "--find-links", wheels, *target(args), *args.pip_options, *ready)


def unpack(pins: list[str], wheels: Path, tree: Path, args: argparse.Namespace) -> None:
    """Lay the wheels out as site-packages, scripts under ``bin`` with the line ``#!python``."""
    shutil.rmtree(tree, ignore_errors=True)
    options = ["--no-deps", "--no-compile", "--no-index", "--find-links", wheels, "--target", tree]
    pip("install", *options, *target(args), *pins)
    for script in (tree / "bin").glob("*"):
        text = script.read_bytes()
        if text.startswith(b"#!"):
            # A long path of this Python takes three lines: a shell that starts it.
            body = text.split(b"\n", 3)[3] if text.startswith(b"#!/bin/sh\n'''exec'") else text.split(b"\n", 1)[1]
            script.write_bytes(b"#!python\n" + body)


def target(args: argparse.Namespace) -> list[str]:
    """pip's options for the host's Python and platform. pip matches a platform tag literally, so all are named."""
    minor = int(args.glibc.split(".")[1])
    tags = [f"manylinux_2_{n}_x86_64" for n in range(minor, 4, -1)]
    tags += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={args.python}"]
    return options + [f"--platform={tag}" for tag in tags]


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
    # Constraints of this machine say nothing about the host.
    if subprocess.run(command, env=os.environ | {"PIP_CONSTRAINT": os.devnull}).returncode:
        raise SystemExit(
            f"build: pip {arguments[0]} failed; its reason stands above. A package that exists as source alone belongs "
            "into SOURCE_ONLY in build.py."
        )


def slim(tree: Path, less: plan.Slim) -> None:
    for pattern in less.paths:
        for path in _named(tree, pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pattern in less.symbols:
        for path in _named(tree, pattern):
            subprocess.run(["strip", "--strip-debug", path], check=True)


def _named(tree: Path, pattern: str) -> list[Path]:
    found = list(tree.glob(pattern))
    if not found:
        raise SystemExit(f"build: the slim list names '{pattern}', which no package has. Correct it.")
    return found


def keep_generation(tree: Path, sm: int) -> None:
    for path in files(tree):
        if path.suffix == ".so" or ".so." in path.name:
            library = bytearray(path.read_bytes())
            before, after = gpu_code.keep_one(library, sm)
            if before:
                path.write_bytes(library)
                say(f"    {path.relative_to(tree)}: {after >> 20} of {before >> 20} MiB of GPU code are for sm {sm}")


def write_parts(tree: Path, out: Path, manifest: dict, part_bytes: int) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plain, archive, parts = out / "site.tar", out / "site.tar.xz", []
    with tarfile.open(plain, mode="w") as tar:
        # Alike files side by side compress better.
        for path in sorted(files(tree), key=lambda p: (p.suffix, str(p))):
            tar.add(path, path.relative_to(tree), filter=_anonymous)
    compress(plain, archive)
    plain.unlink()
    with archive.open("rb") as whole:
        while piece := whole.read(part_bytes):
            name = f"site.tar.xz.{len(parts) + 1}"
            folder = out / f"part{len(parts) + 1}"
            folder.mkdir()
            (folder / name).write_bytes(piece)
            parts.append({"name": name, "bytes": len(piece), "sha256": hashlib.sha256(piece).hexdigest()})
    archive.unlink()
    text = json.dumps(manifest | {"parts": parts}, indent=1)
    for number, part in enumerate(parts, 1):
        (out / f"part{number}" / "manifest.json").write_text(text)
        shutil.copy(HERE / "assemble.py", out / f"part{number}")
        say(f"    {out}/part{number}: {part['bytes'] / (1 << 20):.1f} MiB")


def compress(plain: Path, archive: Path) -> None:
    """A file of several xz streams, one a thread: any xz reads them as one."""
    with plain.open("rb") as tar, archive.open("wb") as out, ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = iter(lambda: tar.read(BLOCK), b"")
        for stream in pool.map(lambda block: lzma.compress(block, filters=X86_CODE), blocks):
            out.write(stream)


def files(tree: Path) -> list[Path]:
    return [path for path in tree.rglob("*") if path.is_file() or path.is_symlink()]


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def say(text: str) -> None:
    print(f"[bundle] {text}" if text[0] != " " else text, flush=True)


if __name__ == "__main__":
    main()
