"""The offline bundle, from wheels to an environment that runs: built, cut, damaged, refused, assembled."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

OFFLINE = Path(__file__).parents[2] / "constraints" / "offline"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SLIM = """
[packages]
gamma = "not used here"
[paths]
"alpha/manual" = "for people"
[paths_sm_90]
"alpha/old.txt" = "for older GPUs"
[symbols]
"""


def write_wheel(folder: Path, name: str, files: dict[str, bytes], entry_points: str = "") -> None:
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points.encode(),
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in files.items():
            wheel.writestr(path, data)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, OFFLINE / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Wheels, a lock, a list of what the host has, a slim list."""
    folder = tmp_path_factory.mktemp("sources")
    # With what is around them two and a half parts, so that no byte more or less makes another part.
    noise = random.Random(0).randbytes(25_000)
    alpha = {
        "alpha/__init__.py": b"NUMBER = 7\n",
        "alpha/noise.bin": noise,
        "alpha/old.txt": b"",
        "alpha/manual/a": b"",
    }
    write_wheel(folder, "alpha", alpha)
    write_wheel(
        folder,
        "beta",
        {"beta.py": b"import alpha, pytest\ndef main():\n    print('beta', alpha.NUMBER, pytest.__version__)\n"},
        "[console_scripts]\nbeta = beta:main\n",
    )
    write_wheel(folder, "gamma", {"gamma.py": b""})
    (folder / "base.txt").write_text("# a comment\nAlpha==1.0\n")
    (folder / "lock.txt").write_text(f"-r base.txt\nbeta==1.0\ngamma==1.0\npytest=={version('pytest')}\npluggy==0.1\n")
    (folder / "host.txt").write_text(f"pytest=={version('pytest')}\npluggy\nbeta==0.9\nelse @ file:///x\n")
    (folder / "slim.toml").write_text(SLIM)
    return folder


def build(sources: Path, out: Path, *options: object) -> subprocess.CompletedProcess:
    fixed = ["--lock", sources / "lock.txt", "--host", sources / "host.txt", "--slim-list", sources / "slim.toml"]
    fixed += ["--python", PYTHON, "--glibc", "2.17", "--slim", "--part-mib", "0.01"]
    return run("build.py", out, *fixed, *options, "--", "--no-index", "--find-links", sources)


@pytest.fixture(scope="module")
def bundle(sources, tmp_path_factory) -> Path:
    """The files of all parts in one folder, as they lie on the host."""
    out, together = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("together")
    done = build(sources, out, "--sm", "90")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = sorted(out.iterdir())
    assert len(parts) == 3
    for part in parts:
        shutil.copytree(part, together, dirs_exist_ok=True)
    return together


def test_the_bundle_becomes_an_environment_that_runs(bundle, tmp_path):
    target = tmp_path / "env"
    done = run("assemble.py", bundle, target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the host's pluggy {version('pluggy')} is used; the lock has 0.1" in done.stdout
    # alpha and beta are the bundle's, pytest is the host's.
    beta = subprocess.run([target / "bin" / "beta"], capture_output=True, text=True)
    assert beta.stdout == f"beta 7 {version('pytest')}\n", beta.stderr
    have = {path.name for path in (target / "lib" / f"python{PYTHON}" / "site-packages").rglob("*")}
    assert "noise.bin" in have and not have & {"manual", "old.txt", "gamma.py"}
    assert "holds this bundle already" in run("assemble.py", bundle, target).stdout


def test_the_manifest_says_where_each_package_comes_from(bundle):
    packages = json.loads((bundle / "manifest.json").read_text())["packages"]
    told = {name: package["from"] for name, package in packages.items()}
    assert told == {
        "alpha": "bundle",
        "beta": "bundle",
        "gamma": "nowhere",
        "pluggy": "host, any version",
        "pytest": "host",
    }


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: _flip(folder / "site.tar.xz.2"), "part 2 of 3 (site.tar.xz.2) is damaged"),
        (lambda folder: (folder / "site.tar.xz.3").unlink(), "part 3 of 3 (site.tar.xz.3) is missing"),
        (lambda folder: os.truncate(folder / "site.tar.xz.1", 100), "part 1 of 3 (site.tar.xz.1) has 100 bytes"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json cannot be read"),
    ],
)
def test_a_damaged_bundle_is_refused_and_nothing_is_unpacked(bundle, tmp_path, damage, told):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    damage(copy)
    done = run("assemble.py", copy, tmp_path / "env")
    assert done.returncode == 1 and told in done.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"python": "3.9"}, f"this is Python {PYTHON}, the bundle is for 3.9"),
        ({"glibc": "9.0"}, "the bundle is for 9.0 or later"),
        ({"packages": {"pytest": {"version": "0.0.1", "from": "host"}}}, "(want 0.0.1)"),
        ({"packages": {"torchx": {"version": "2.11.0", "from": "host, any version"}}}, "torchx is missing"),
    ],
)
def test_a_host_that_does_not_fit_is_refused(bundle, tmp_path, change, told):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | change))
    done = run("assemble.py", copy, tmp_path / "env")
    assert done.returncode == 1 and told in done.stderr


def test_a_folder_with_other_files_is_not_built_into(sources, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    done = build(sources, tmp_path)
    assert done.returncode == 1 and "holds more than an earlier bundle" in done.stderr
    assert (tmp_path / "mine.txt").exists()


def test_only_what_it_made_itself_is_replaced(bundle, tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("an environment of mine")
    done = run("assemble.py", bundle, tmp_path)
    assert done.returncode == 1 and "was not made by this script" in done.stderr
    assert (tmp_path / "pyvenv.cfg").read_text() == "an environment of mine"


def test_an_assembly_that_was_cut_off_is_done_again(bundle, tmp_path):
    (tmp_path / ".longvt-offline.unfinished").write_text("{}")
    (tmp_path / "half.txt").write_text("")
    done = run("assemble.py", bundle, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bin" / "beta").exists() and not (tmp_path / "half.txt").exists()


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("lock.txt", "alpha>=1.0\n", "'alpha>=1.0' is no exact pin"),
        ("slim.toml", SLIM.replace("gamma", "delta"), "leaves out ['delta']"),
        ("slim.toml", SLIM.replace("alpha/manual", "alpha/handbook"), "names 'alpha/handbook'"),
        ("lock.txt", "alpha==1.0\ngamma==1.0\nomega==3.0\n", "pip download failed"),
    ],
)
def test_lists_that_do_not_fit_each_other_are_refused(sources, tmp_path, file, text, told):
    copy = shutil.copytree(sources, tmp_path / "sources")
    (copy / file).write_text(text)
    done = build(copy, tmp_path / "out")
    assert done.returncode == 1 and told in done.stderr
