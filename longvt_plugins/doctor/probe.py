"""What the doctor asks a Ray node first. Sent by value, so it also runs where longvt-plugins is missing or another.

Only the standard library, therefore, and no import of this package.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path


def probe(names: list[str], paths: list[str]) -> dict:
    """Versions of ``names`` (``None``: not installed), which of ``paths`` are missing, and which code is here."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "versions": versions,
        "missing_paths": [path for path in paths if not os.path.exists(path)],
        "source": source_digest(),
    }


def source_digest() -> str | None:
    """Of all Python files of longvt_plugins here: editable installs differ without another version."""
    spec = importlib.util.find_spec("longvt_plugins")
    if spec is None or spec.origin is None:
        return None
    root, digest = Path(spec.origin).parent, hashlib.blake2b(digest_size=8)
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
