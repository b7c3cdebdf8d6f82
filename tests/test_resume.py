"""Runs that are killed at any moment and started again: nothing is asked twice, nothing is lost, nothing differs."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest

from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Pair, Reply
from rt_framework.testing.fakes import rewriting
from rt_framework.testing.server import FaultServer
from tests.helpers import QUESTIONS, with_questions
from tests.run_helpers import GATES, SELECTIVE, http_answer, outputs, pair_of, rows, side, write_json

REPO = Path(__file__).resolve().parent.parent
COUNT = 18


def recorded(data: Sequence[Mapping[str, str]]) -> list[dict[str, object]]:
    """Answers for a run over *data*: most good, some only the second time, some never, some missing."""
    reflection = InstructionReflection(ReflectionSettings())
    lines: list[dict[str, object]] = []

    def add(name: str, pair: Pair, number: int) -> str:
        text = rewriting(InstructionReflection(ReflectionSettings()).render(pair, 0, True))
        if name == "response":
            parts = json.loads(text)
            text = json.dumps({"critique": parts["critique"], "response": f"{parts['response']} {number}"})
        answers = {0: ["of no use", text], 1: ["", ""], 2: []}.get(number % 6, [text])
        for index, answer in enumerate(answers):
            lines.append({"reflection": name, "pair": pair.hash, "index": index, "text": answer})
        return text

    for number, row in enumerate(data):
        old = pair_of(row)
        new = reflection.parse(old, reflection.render(old, 0, True), Reply(add("instruction", old, number)))
        assert isinstance(new, Pair)
        add("response", old, number + 1)
        add("response", new, number + 2)
    return lines


def prepare(folder: Path, teacher: object) -> Path:
    """Data, answers and config of a job in *folder*."""
    data = rows(COUNT)
    write_json(folder / "data.json", data)
    with (folder / "answers.jsonl").open("w") as file:
        file.writelines(json.dumps(line) + "\n" for line in recorded(data))
    job = {
        "data": {"path": "data.json"},
        "teacher": teacher,
        "student": "fake",
        "scoring": {"preset": "selective-rt"},
        "pipeline": [*SELECTIVE, *GATES],
        "limits": {"concurrency": 4, "in_flight": 6},
    }
    return write_json(folder / "job.yaml", job)  # JSON is YAML


def start(folder: Path, run_dir: Path, **env: str) -> subprocess.Popen[str]:
    """`rt run` in a process of its own."""
    arguments = ["-p", "tests.fakes_plugin", "run", "job.yaml", "--run-dir", str(run_dir)]
    code = "from rt_framework.cli import main; main()"
    told = os.environ | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": "", "OPENAI_API_KEY": "sk-test"} | env
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end, which has to be a good one."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out


def look(run_dir: Path, sql: str) -> list[tuple[object, ...]]:
    """Return the rows of a query to the ledger of a running process, or nothing when there is no ledger yet."""
    path = run_dir / "ledger.sqlite"
    if not path.is_file():
        return []
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        return with_questions(db).execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        db.close()


ANSWERED = "SELECT reflection, pair, idx FROM calls WHERE answer IS NOT NULL"
OPEN = "SELECT key FROM attempts JOIN calls ON number = call WHERE state = 'intent'"


def kill(process: subprocess.Popen[str], run_dir: Path, answers: int, stuck: Callable[[], bool]) -> None:
    """SIGKILL once so many answers are committed and, as *stuck* says, a call is under way that will not end."""
    deadline = time.monotonic() + 60
    while len(look(run_dir, ANSWERED)) < answers or not stuck():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert len(look(run_dir, ANSWERED)) >= answers
    assert look(run_dir, OPEN)


def killed(folder: Path, run_dir: Path, log: Path, answers: int) -> None:
    """A run that gets so many answers and none after a few more, until it is killed."""
    few = 8  # more than the questions without an answer
    env = {"RT_TEST_LOG": str(log), "RT_TEST_DELAY": "0.02", "RT_TEST_HANG": str(answers + few)}
    process = start(folder, run_dir, **env)
    kill(process, run_dir, answers, lambda: log.exists() and len(log.read_text().splitlines()) > answers + few)


@pytest.fixture(scope="module")
def uncrashed(tmp_path_factory) -> tuple[Path, dict[str, bytes], Counter[str]]:
    """A job, what it gives without a crash, and what it asks."""
    folder = tmp_path_factory.mktemp("uncrashed")
    prepare(folder, "slow-replay:answers.jsonl")
    finish(start(folder, folder / "run", RT_TEST_LOG=str(folder / "log")))
    return folder, outputs(folder / "run"), asked(folder / "log")


def asked(log: Path) -> Counter[str]:
    """Return how often each question was put to the teacher."""
    return Counter(log.read_text().splitlines())


def test_the_job_is_worth_killing(uncrashed):
    """Kept, dropped, rewritten and original samples; unusable, missing and second answers."""
    folder, files, questions = uncrashed
    lines = side(folder / "run")
    assert {line["outcome"] for line in lines} == {"rewritten", "original", "dropped"}
    assert {failure["kind"] for line in lines for failure in line["failures"]} == {"empty", "no_answer"}
    assert {question[-1] for question in questions} == {"0", "1"}
    assert all(files.values())


@pytest.mark.parametrize("answers", [1, 14, 30, *(pytest.param(more, marks=pytest.mark.slow) for more in (7, 22))])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(answers, uncrashed, tmp_path):
    """Killed with so many answers committed and calls under way: the data set and the side file are the same bytes,
    no committed answer is asked for again, every call in doubt is listed, and every row is accounted for.
    """
    folder, files, questions = uncrashed
    run_dir, log = tmp_path / "run", tmp_path / "log"
    killed(folder, run_dir, log, answers)
    committed = {" ".join(map(str, key)) for key in look(run_dir, ANSWERED)}
    doubtful = sorted(look(run_dir, OPEN))
    before = asked(log)
    log.unlink()

    out = finish(start(folder, run_dir, RT_TEST_LOG=str(log)))
    assert outputs(run_dir) == files
    again = asked(log)
    assert not committed & set(again)
    assert set(before) | set(again) == set(questions)
    assert f"teacher calls under way when the last run was killed: {len(doubtful)}." in out
    with Ledger.reading(run_dir / "ledger.sqlite") as ledger:
        assert sorted((key,) for key in ledger.calls.unknown()) == doubtful
    assert 1 <= len(doubtful) <= 4
    assert [line["row"] for line in side(run_dir)] == list(range(COUNT))


def test_killed_again_and_again(uncrashed, tmp_path):
    """Three kills in one run: still the same bytes, and no answer was ever asked for after it was committed."""
    folder, files, _ = uncrashed
    run_dir, log = tmp_path / "run", tmp_path / "log"
    committed: set[str] = set()
    for more in (2, 3, 4):
        log.write_text("")
        killed(folder, run_dir, log, more)
        assert not committed & set(asked(log))
        committed = {" ".join(map(str, key)) for key in look(run_dir, ANSWERED)}
    log.write_text("")
    finish(start(folder, run_dir, RT_TEST_LOG=str(log)))
    assert not committed & set(asked(log))
    assert outputs(run_dir) == files


def received(server: FaultServer) -> Counter[str]:
    """Return how often each question reached the server."""
    return Counter(json.dumps(request.body["messages"], sort_keys=True) for request in server.received)


def questions(run_dir: Path, sql: str) -> set[str]:
    """The questions of some requests in the ledger."""
    return {json.dumps(json.loads(str(text))["messages"], sort_keys=True) for (text,) in look(run_dir, sql)}


def test_a_paid_run_is_paid_once(tmp_path):
    """The litellm teacher over HTTP, killed and resumed, by the server's own counts: 0 answers lost, 0 asked again."""
    asked, dead = count(), threading.Event()

    def some(body):
        if next(asked) >= 12:
            dead.wait(60)
        return http_answer(body)

    with FaultServer(some) as server:
        teacher = {"model": "openai/fake-model", "api_base": server.url, "structured": True}
        prepare(tmp_path, {"litellm": teacher})
        run_dir = tmp_path / "run"
        kill(start(tmp_path, run_dir), run_dir, 8, lambda: len(server.received) > 12)
        dead.set()
        time.sleep(0.3)  # What the dead client had sent is still answered.
        first = received(server)
        committed = questions(run_dir, f"{QUESTIONS} WHERE answer IS NOT NULL")
        doubtful = questions(run_dir, f"{QUESTIONS} JOIN attempts ON call = number WHERE state = 'intent'")
        assert set(first) <= committed | doubtful
        assert committed <= set(first)

        finish(start(tmp_path, run_dir))
        everything = received(server)
        assert not committed & set(everything - first)
        twice = {question for question, count in everything.items() if count > 1}
        assert max(everything.values()) <= 2
        assert twice <= doubtful
        assert len(doubtful) <= 4
        assert len(everything) == 2 * COUNT
        assert server.billed == 2 * COUNT + len(twice)
    lines = side(run_dir)
    assert [line["row"] for line in lines] == list(range(COUNT))
    assert not any(line["failures"] for line in lines)
