"""Assemble a bundle on the GPU host: check it, check the host, unpack it into a virtual environment.

    python3 assemble.py FOLDER VENV [--project REPOSITORY]

FOLDER holds the files of all parts. This Python is the host's: a package that the bundle leaves to the host is one
that this Python has. Needs the standard library alone. Running it again is safe.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import lzma
import platform
import shutil
import site
import subprocess
import sys
import tarfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

STAMP = ".longvt-offline"
"""The manifest of a whole environment. `longvt doctor` and constraints/install.sh read it."""
UNFINISHED = STAMP + ".unfinished"
"""Its name until everything is there."""
BLOCK = 1 << 20


class Refused(Exception):
    """What is wrong, and what to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the files of all parts")
    parser.add_argument("venv", type=Path, help="environment to make")
    parser.add_argument("--project", type=Path, help="clone of longvt_plugins to install into it (editable)")
    args = parser.parse_args()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[assemble {time.monotonic() - started:4.0f} s] {text}", flush=True)

    try:
        manifest = read_manifest(args.folder)
        check_host(manifest, say)
        stamp = args.venv / STAMP
        if stamp.exists() and json.loads(stamp.read_text())["parts"] == manifest["parts"]:
            say(f"{args.venv} holds this bundle already")
        else:
            say("checking the parts")
            check_parts(args.folder, manifest["parts"])
            say(f"unpacking into {args.venv}")
            unpack(args.folder, manifest, args.venv)
            say("compiling")
            compile_all(args.venv)
            check_versions(args.venv, manifest)
            (args.venv / UNFINISHED).rename(stamp)
        if args.project:
            say(f"installing {args.project}, editable")
            install_project(args.venv, args.project)
    except Refused as error:
        sys.exit(f"assemble: {error}")
    say(f"done. Next: {args.venv}/bin/longvt doctor --gpu")


def read_manifest(folder: Path) -> dict:
    try:
        return json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise Refused(
            f"{folder}/manifest.json cannot be read ({error}). Copy every file of every part there."
        ) from None


def check_host(manifest: dict, say) -> None:
    """This Python, this C library, and the packages that the bundle leaves to this host."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here != manifest["python"]:
        raise Refused(f"this is Python {here}, the bundle is for {manifest['python']}. Run it with python"
                      f"{manifest['python']}, or build with --python {here}.")  # fmt: skip
    kind = f"{platform.system()} {platform.machine()}"
    if kind != "Linux x86_64":
        raise Refused(f"this is {kind}, the bundle is for Linux x86_64. There is no bundle for other machines.")
    library, version = platform.libc_ver()
    if library == "glibc" and _numbers(version) < _numbers(manifest["glibc"]):
        raise Refused(f"the C library here is {version}, the bundle is for {manifest['glibc']} or later. Build with "
                      f"--glibc {version}.")  # fmt: skip
    wrong = []
    for name, told in manifest["packages"].items():
        if not told["from"].startswith("host"):
            continue
        have, want = installed(name), told["version"]
        if have is None:
            wrong.append(f"{name} is missing (want {want})")
        elif have.split("+")[0] != want.split("+")[0]:
            if told["from"] == "host":
                wrong.append(f"{name} is {have} (want {want})")
            else:
                say(f"note: the host's {name} {have} is used; the lock has {want}")
    if wrong:
        raise Refused(
            f"the bundle leaves these to the host, but for {sys.executable}: {'; '.join(wrong)}. Install them here, "
            "run this with the Python that has them, or build again with this host's pip list."
        )


def check_parts(folder: Path, parts: list[dict]) -> None:
    for number, part in enumerate(parts, 1):
        of = f"part {number} of {len(parts)} ({part['name']})"
        path = folder / part["name"]
        if not path.exists():
            raise Refused(f"{of} is missing in {folder}. Copy it there.")
        if path.stat().st_size != part["bytes"]:
            raise Refused(f"{of} has {path.stat().st_size} bytes, not {part['bytes']}. Copy it again.")
        digest = hashlib.sha256()
        with path.open("rb") as data:
            while block := data.read(BLOCK):
                digest.update(block)
        if digest.hexdigest() != part["sha256"]:
            raise Refused(f"{of} is damaged: its sha256 differs. Copy it again.")


def unpack(folder: Path, manifest: dict, target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        if not (target / STAMP).exists() and not (target / UNFINISHED).exists():
            raise Refused(f"{target} is there and was not made by this script. Name another folder, or remove it.")
        shutil.rmtree(target)
    target.mkdir(parents=True, exist_ok=True)
    (target / UNFINISHED).write_text(json.dumps(manifest))
    links_host = any(told["from"].startswith("host") for told in manifest["packages"].values())
    venv.create(target, with_pip=not links_host, symlinks=True)
    packages = site_packages(target)
    archive = _Joined(folder / part["name"] for part in manifest["parts"])
    with lzma.open(archive) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
        # Absent before Python 3.11.4.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(packages)
    for script in (packages / "bin").glob("*"):
        text = script.read_bytes()
        if text.startswith(b"#!python\n"):
            text = f"#!{target.absolute()}/bin/python\n".encode() + text.split(b"\n", 1)[1]
        (target / "bin" / script.name).write_bytes(text)
        (target / "bin" / script.name).chmod(0o755)
    if links_host:
        # Behind the bundle's own packages, so that those win.
        lines = [f"import site; site.addsitedir({folder!r})" for folder in host_folders()]
        (packages / "zz_host.pth").write_text("\n".join(lines) + "\n")


class _Joined:
    """Several files read as one."""

    def __init__(self, paths):
        self._chunks = self._read(paths)
        self._rest = b""

    @staticmethod
    def _read(paths) -> Iterator[bytes]:
        for path in paths:
            with path.open("rb") as data:
                while block := data.read(BLOCK):
                    yield block

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            block = next(self._chunks, None)
            if block is None:
                return b""
            self._rest = block
        size = len(self._rest) if size < 0 else size
        out, self._rest = self._rest[:size], self._rest[size:]
        return out


def compile_all(target: Path) -> None:
    # Some packages ship templates that are no valid Python: what fails here is compiled, or fails, when imported.
    command = [target / "bin" / "python", "-m", "compileall", "-q", "-j", "0", site_packages(target)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_versions(target: Path, manifest: dict) -> None:
    """What the new environment finds is what the manifest promises."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    # The first on sys.path wins, and comes first here.
    code = code.replace("m.distributions()", "reversed(list(m.distributions()))")
    told = subprocess.run([target / "bin" / "python", "-c", code], capture_output=True, text=True, check=True).stdout
    found = {_normal(name): version for name, version in json.loads(told).items()}
    wrong = [
        f"{name} is {found.get(name, 'missing')} (want {told['version']})"
        for name, told in manifest["packages"].items()
        if told["from"] in ("bundle", "host") and found.get(name, "").split("+")[0] != told["version"].split("+")[0]
    ]
    if wrong:
        raise Refused(f"{target} does not hold what the bundle promises: {'; '.join(wrong)}. Build the bundle again.")


def install_project(target: Path, project: Path) -> None:
    python = target / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-index", "--no-deps"]
    done = subprocess.run([*pip, "--no-build-isolation", "-e", project], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{project} could not be installed:\n{done.stderr.strip()}")


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def host_folders() -> list[str]:
    """Where this Python keeps packages."""
    known = [*site.getsitepackages(), site.getusersitepackages()]
    return [path for path in sys.path if path in known or path.endswith(("site-packages", "dist-packages"))]


def site_packages(target: Path) -> Path:
    return target / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _normal(name: str) -> str:
    return name.replace("_", "-").replace(".", "-").lower()


if __name__ == "__main__":
    main()
