"""Other Python processes that import modules from the same places as this one."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
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


def forked(code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run *code* as :func:`python` does, in a process that has loaded the framework but no plugin.

    Texts have other hashes there than in this process, so that sets have another order. Much faster than a new
    interpreter: one process is started at the first call, and forks itself for every call.
    """
    return _server().run(code, *arguments, **variables)


class _ForkServer:
    """The other side of :mod:`rt_framework.testing.fork_server`."""

    def __init__(self) -> None:
        seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
        command = [sys.executable, "-P", "-m", "rt_framework.testing.fork_server"]
        env = environment(PYTHONHASHSEED=seed)
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, text=True, start_new_session=True)  # noqa: S603
        self._lock = threading.Lock()
        atexit.register(self.close)

    def run(self, code: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Return the exit code and the output of *code* in a fork with these environment *variables*."""
        told = environment(**variables)
        request = {
            "code": code,
            "arguments": [*map(str, arguments)],
            "env": told,
            "path": told["PYTHONPATH"].split(os.pathsep),
            "cwd": str(Path.cwd()),
        }
        asked, answered = self._process.stdin, self._process.stdout
        assert asked and answered, "both are pipes"
        with self._lock:
            asked.write(json.dumps(request) + "\n")
            asked.flush()
            code_of_exit, out, err = json.loads(answered.readline())
        return subprocess.CompletedProcess([code], code_of_exit, out, err)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


_server = cache(_ForkServer)
