"""Where a medium of a row lies on this machine.

Published rows carry paths of the machine they were made on (``file:///data/x/clips/a.mp4``). Such a path is taken
as it is if it exists; else its longest ending that exists under the root (``clips/a.mp4``, then ``a.mp4``).
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlparse

from longvt_plugins.errors import DataError

_FILE = re.compile(r"^\s*file:(//(localhost(?=/))?)?", re.IGNORECASE)
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]|\\")


def local_path(url: str, root: str | os.PathLike[str] = "") -> str:
    """Absolute path of ``url`` on this machine; the file need not exist.

    Raises:
        DataError: not a path that can be meant here: empty, remote, or of Windows.
    """
    if not isinstance(url, str) or not url.strip():
        raise DataError(url, "must be the path of a local file", "Write the path into the row.")
    if _WINDOWS.search(url):
        raise DataError(url, "is a Windows path", "Write it relative to the root, with forward slashes.")
    try:
        scheme = urlparse(url).scheme
    except ValueError as error:
        raise DataError(url, f"is neither a path nor a URL ({error})", "Write the path into the row.") from error
    if scheme == "file":
        # Not the parsed path: "#", "?" and ";" may stand in a name.
        url = unquote(_FILE.sub("", url, count=1))
    elif scheme and "://" in url:
        raise DataError(url, "is not a local file", "Download it and write its path into the row.")
    if "\0" in url:
        raise DataError(url, "contains a null character", "Write the path into the row.")
    root = os.path.abspath(os.path.expanduser(os.fspath(root)))
    if not os.path.isabs(url):
        return os.path.normpath(os.path.join(root, url))
    if not os.path.exists(url):
        endings = PurePosixPath(url).parts[1:]
        for first in range(len(endings)):
            candidate = os.path.join(root, *endings[first:])
            if os.path.exists(candidate):
                return os.path.normpath(candidate)
    return os.path.normpath(url)
