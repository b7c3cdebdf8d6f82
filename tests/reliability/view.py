"""A user's view of a bad day: killed twice, rate-limited, out of budget, and taken to the end by the same command.

`python -m tests.reliability.view STUDENT` prints it as docs/reliability.md shows it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.results import open_run
from rt_framework.testing.server import Fault, FaultServer
from tests.helpers import REPO
from tests.reliability.jobs import http_job, priced_at
from tests.run_helpers import attempts, http_answer, rows

CODE = "from rt_framework.cli import main; main()"


@frozen
class Step:
    """One command of the day."""

    command: str
    code: int
    """As the shell gives it: 137 for a SIGKILL."""
    out: str
    billed: int
    """Answers that the server has made until then."""


class Bucket:
    """Lets so many requests through in a second; the others are told to wait a second."""

    def __init__(self, rate: float) -> None:
        self._rate, self._tokens, self._at = rate, rate, time.monotonic()
        self._lock = threading.Lock()
        self.rejected = 0

    def __call__(self, _number: int, _body: object) -> Fault | None:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return None
            self.rejected += 1
            return Fault("rate_limit", retry_after="1")


class Slow:
    """Answers after a tenth of a second, and knows when it last began one."""

    def __init__(self) -> None:
        self._began = 0.0

    def __call__(self, body: dict[str, Any]) -> str:
        self._began = time.monotonic()
        time.sleep(0.1)
        return http_answer(body)

    def has_just_begun(self) -> bool:
        """Return whether an answer is under way and will be long enough for a kill to come before its end."""
        return time.monotonic() - self._began < 0.04


def day(folder: Path, student: str, rate: float, count: int) -> tuple[list[Step], Bucket]:
    """Live through it with so many samples, and so many calls a second allowed."""
    bucket, slow = Bucket(rate), Slow()
    with FaultServer(slow, bucket) as server:
        limits = {"concurrency": 3}
        teacher = priced_at(server, output_price=1.0)
        job = http_job(folder, server, rows(count), teacher=teacher, student=student, limits=limits)
        job.rename(folder / "rt.yaml")

        def rt_run(budget: float, until: int | None = None) -> Step:
            command = f"rt run rt.yaml --set limits.budget_usd={budget:g}"
            process = _start(folder, command)
            if until is not None:
                # A pause that the provider asked for has no call under way, and its kill would leave nothing in doubt.
                _wait(
                    lambda: attempts(folder / "runs" / "rt")["answered", ""] >= until and slow.has_just_begun(), process
                )
                process.kill()
            out, _ = process.communicate(timeout=300)
            code = process.returncode if process.returncode >= 0 else 128 - process.returncode
            return Step(command, code, out, server.billed)

        steps = [rt_run(0.035, 12), rt_run(0.035, 30)]
        # Each kill leaves one to three calls that may have been billed, so what is left of a fixed budget varies.
        with open_run(folder / "runs" / "rt") as run:
            little = round(run.cost.nano_dollars / 1e9 + 0.004, 4)
        steps += [rt_run(little), rt_run(1.0), rt_run(1.0)]
    return steps, bucket


def _start(folder: Path, command: str) -> subprocess.Popen[str]:
    told = os.environ | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": "", "OPENAI_API_KEY": "sk-test"}
    told |= {"PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-c", CODE, "-p", "tests.fakes_plugin", *command.split()[1:]]
    return subprocess.Popen(
        arguments, cwd=folder, env=told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            if condition():
                return
        except Exception:
            pass  # there is no ledger yet
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def main() -> None:
    """Print the day in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        steps, bucket = day(Path(folder), sys.argv[1], 4, 40)
    for step in steps:
        told = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", step.out)
        told = re.sub(r"\S*/(\S+\.gguf|data\.json)", r"\1", told).rstrip()
        print(f"```\n$ {step.command}\n{told}\n```\n")
        print(f"Exit code {step.code}; the server has billed {step.billed} answers so far.\n")
    print(f"The server refused {bucket.rejected} requests.")


if __name__ == "__main__":
    main()
