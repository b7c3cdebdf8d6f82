"""Fresh processes that import what this one imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def environment(**more: str) -> dict[str, str]:
    """This process's environment and *more*; Python imports there from where it imports here."""
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    return {**os.environ, "PYTHONPATH": path, **more}


def python(
    code: str, *arguments: object, env: Mapping[str, str], cwd: Path | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new process, with these arguments, and keep what it prints; *timeout* is in seconds."""
    # -P: a file in the current folder does not stand for a module of Python's, as with the installed command.
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    return subprocess.run(  # noqa: S603 - our own code
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False
    )
