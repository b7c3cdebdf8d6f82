"""Two runs on one directory: the second refuses, naming the owner."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from rt_framework.errors import LockedError
from rt_framework.rundir.directory import open_run
from tests.helpers import REPO
from tests.run_helpers import SELECTIVE, go, job, rows, write_json

QUESTIONS = 6


def start(folder: Path, **env: str) -> subprocess.Popen[str]:
    """`rt run` in a process of its own, by a teacher that has no answer for these rows."""
    code = "from rt_framework.cli import main; main()"
    told = os.environ | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": ""} | env
    command = [sys.executable, "-c", code, "-p", "tests.fakes_plugin", "run", "job.yaml", "--run-dir", "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=told, **pipes)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A directory with a job in it."""
    write_json(tmp_path / "data.json", rows(QUESTIONS))
    write_json(tmp_path / "answers.jsonl", {"reflection": "response", "pair": "of another", "index": 0, "text": "x"})
    raw = {"data": {"path": "data.json"}, "teacher": "slow-replay:answers.jsonl", "pipeline": [{"reflect": "response"}]}
    write_json(tmp_path / "job.yaml", raw)
    return tmp_path


def test_one_of_many_wins_and_is_named_and_its_death_frees(folder, size):
    """Started at once, one process runs; every other ends with code 4 and one line that names it. SIGKILL frees."""
    running = [start(folder, RT_TEST_HANG="0") for _ in range(size(8, 20))]
    try:
        deadline = time.monotonic() + 60
        while sum(one.poll() is None for one in running) > 1:
            assert time.monotonic() < deadline, "more than one run goes on"
            time.sleep(0.02)
        (winner,) = [one for one in running if one.poll() is None]
        losers = [one for one in running if one is not winner]
        line = f"Error: run: in use by process {winner.pid} on {platform.node()}; wait until it ends, or choose "
        for loser in losers:
            out, err = loser.communicate(timeout=30)
            assert (loser.returncode, out) == (4, "")
            assert re.fullmatch(re.escape(line) + "another --run-dir\n", err), err
        assert winner.poll() is None
    finally:
        for one in running:
            one.send_signal(signal.SIGKILL)
            one.communicate(timeout=30)
    last = start(folder)
    out, err = last.communicate(timeout=60)
    assert (last.returncode, err) == (0, "")
    assert f"{QUESTIONS} samples" in out


def test_a_killed_owner_is_not_named(tmp_path):
    """The owner's file of a killed process does not count, and the present owner has not written its own yet."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "run.owner").write_text(json.dumps({"pid": gone.pid, "host": platform.node()}))
    with FileLock(tmp_path / "run.lock"), pytest.raises(LockedError, match="in use by another process; "):
        open_run(tmp_path).__enter__()


def test_an_owner_that_has_not_said_its_name_yet_is_waited_for(tmp_path):
    """It locks first and writes its name next; a moment later it is named."""
    owner = json.dumps({"pid": os.getpid(), "host": platform.node()})
    late = threading.Timer(0.3, (tmp_path / "run.owner").write_text, [owner])
    with FileLock(tmp_path / "run.lock"):
        late.start()
        with pytest.raises(LockedError, match=f"in use by process {os.getpid()} on "):
            open_run(tmp_path).__enter__()
    late.join()


def test_a_locked_run_directory_is_refused_and_its_owner_named(folder, rt, monkeypatch):
    """An owner on another machine too; nothing is made, and looking is always allowed."""
    monkeypatch.chdir(folder)
    (folder / "run").mkdir()
    (folder / "run" / "run.owner").write_text(json.dumps({"pid": 4711, "host": "elsewhere"}))
    with FileLock(folder / "run" / "run.lock"):
        done = rt("run", "job.yaml", "--run-dir", "run")
        line = "Error: run: in use by process 4711 on elsewhere; wait until it ends, or choose another --run-dir\n"
        assert (done.code, done.err) == (4, line)
        assert not (folder / "run" / "ledger.sqlite").exists()
    assert rt("run", "job.yaml", "--run-dir", "run").code == 0
    with FileLock(folder / "run" / "run.lock"):
        for look in (("status", "run"), ("explain", "run", "0"), ("export", "run", "--out", "kept.csv")):
            assert rt(*look).code == 0


def test_two_runs_in_one_process(tmp_path):
    """The second is refused and told who owns it; afterwards the directory is free again."""
    config = job(tmp_path, rows(1), SELECTIVE)
    with open_run(tmp_path / "run"), pytest.raises(LockedError, match=f"in use by process {os.getpid()} on "):
        go(config, tmp_path / "run")
    assert go(config, tmp_path / "run").total == 1
