"""Fresh Python processes that import modules from the same places as this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with *variables*; Python in it has the import path of this process."""
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return {**os.environ, "PYTHONPATH": path, **variables}


def python(
    code: str, *arguments: object, env: Mapping[str, str], cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new process, with these arguments, and capture its output; *timeout* is in seconds."""
    # -P: as with the installed command, a file in the current folder does not hide a standard module.
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.run(  # noqa: S603 - our own code
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
