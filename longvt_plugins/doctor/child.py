"""A look in a process of its own: a library that crashes, hangs or holds a GPU costs that process and not the doctor.

``look("longvt_plugins.doctor.loading", "in_verl")`` calls that function there, with JSON for arguments and result.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from typing import Any

from longvt_plugins.errors import CheckError

_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt)\b.*")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}


def look(module: str, function: str, *arguments: Any, limit_s: float, remedy: str) -> Any:
    """What ``module.function(*arguments)`` returned.

    Raises:
        CheckError: it raised, crashed, or took longer than ``limit_s``.
    """
    command = [sys.executable, "-m", __name__, module, function, json.dumps(arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=os.environ | QUIET)
    except subprocess.TimeoutExpired as error:
        raise CheckError(function, f"gave no answer within {limit_s:.0f} s", remedy) from error
    if done.returncode:
        raise CheckError(function, _reason(done.stderr) or f"ended with exit code {done.returncode}", remedy)
    return json.loads(done.stdout.splitlines()[-1])


def _reason(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or [""])[-1][:500].rstrip(". ")


if __name__ == "__main__":
    result = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*json.loads(sys.argv[3]))
    print("\n" + json.dumps(result))
