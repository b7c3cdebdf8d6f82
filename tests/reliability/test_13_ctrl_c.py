"""Promise 13: Ctrl-C drains, twice stops within 2 s."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rt_framework.rundir.directory import OWNER, PROGRESS
from rt_framework.testing.server import FaultServer
from tests.helpers import REPO
from tests.reliability.jobs import http_job
from tests.run_helpers import attempts, http_answer, rows, write_json

CODE = "from rt_framework.cli import main; main()"


def command(folder: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    """A command in a process of its own, as a terminal starts it."""
    environment = os.environ | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": "", "PYTHONUNBUFFERED": "1"} | env
    line = [sys.executable, "-c", CODE, "-p", "tests.fakes_plugin", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def start(folder: Path, config: Path, **env: str) -> subprocess.Popen[str]:
    """`rt run`."""
    return command(folder, "run", str(config), "--run-dir", "run", **env)


def until(condition, process) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_once_waits_for_what_is_paid_for(stop, tmp_path, size):
    """At random moments: exit code 130, no call left open, every answer that the server made is committed, nothing
    new is sent; the same command goes on without asking for any of them again.
    """
    for seed in range(size(1, 30)):
        folder = tmp_path / f"{stop.name} {seed}"
        folder.mkdir()
        with FaultServer(lambda body: time.sleep(0.15) or http_answer(body)) as server:
            config = http_job(folder, server, rows(20), teacher={"http": {"url": server.url}})
            process = start(folder, config)
            until(lambda server=server: server.received, process)
            time.sleep(random.Random(seed).uniform(0, 0.5))
            process.send_signal(stop)
            out, err = process.communicate(timeout=20)
            assert process.returncode == 130, (out, err)
            assert "the same command resumes" in err
            assert "calls under way, which are paid for" in out
            assert attempts(folder / "run") == {("answered", ""): len(server.received)}
            sent = len(server.received)
            again = start(folder, config)
            again.communicate(timeout=60)
            assert again.returncode == 0
            assert len(server.received) == 40
            assert sent < 40


@pytest.mark.parametrize("busy", ["teacher", "student"])
def test_twice_leaves_within_two_seconds(busy, tmp_path):
    """Calls that do not end, and a forward pass that cannot be stopped: code 130, and they are listed next time."""
    hang = 60 if busy == "teacher" else 0
    with FaultServer(lambda body: server.closing.wait(hang) or http_answer(body)) as server:
        config = http_job(tmp_path, server, rows(4), teacher={"http": {"url": server.url}}, student="slow")
        process = start(tmp_path, config, RT_TEST_FORWARD="0" if busy == "teacher" else "60", RT_TEST_LOG="log")
        until(lambda: server.received if busy == "teacher" else (tmp_path / "log").exists(), process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert time.monotonic() - began < 2
        assert process.returncode == 130
    if busy == "teacher":
        assert attempts(tmp_path / "run") == {("intent", ""): len(server.received)}


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_scoring_ends_in_order_too(stop, tmp_path):
    """Exit code 130, the older output as it was, losses kept, nothing left of the run; the same command goes on."""
    write_json(tmp_path / "data.json", rows(200))
    words = ("score", "data.json", "--student", "slow", "--metric", "ifd", "--template", "alpaca", "--out", "out.jsonl")
    quick = command(tmp_path, *words, "--limit", "3", RT_TEST_FORWARD="0", RT_TEST_LOG="log")
    assert quick.communicate(timeout=60) and quick.returncode == 0
    before = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "log").unlink()
    process = command(tmp_path, *words, RT_TEST_FORWARD="0.3", RT_TEST_LOG="log")
    until((tmp_path / "log").exists, process)
    process.send_signal(stop)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, (out, err)
    assert "the same command resumes" in err
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert not {PROGRESS, OWNER} & {path.name for path in (tmp_path / "out.jsonl.rt").iterdir()}
    again = command(tmp_path, *words, RT_TEST_FORWARD="0", RT_TEST_LOG="log")
    assert again.communicate(timeout=60) and again.returncode == 0
    assert len((tmp_path / "out.jsonl").read_text("utf-8").splitlines()) == 200
