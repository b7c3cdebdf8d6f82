"""Parts of the testing kit besides contracts: teachers that fail or are slow, and a folder to run ``rt`` in."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from rt_framework import TeacherError
from rt_framework.testing import FailingTeacher, SlowTeacher
from rt_framework.testing.processes import environment, forked, python
from tests.run_helpers import go, job, request, rows, side

REFLECT = [{"reflect": "response"}]
COUNT = """
from rt_framework import Range, hookimpl

class Calls:
    direction, valid, calls = "none", Range(), 0

    def spans(self, pair, frame):
        return {"len(y)": frame.response_length(pair)}

    def reduce(self, losses):
        Calls.calls += 1
        return float(Calls.calls) + 0 * losses["len(y)"].tokens

@hookimpl
def rt_register_metrics(register):
    register("calls", "counting_calls:Calls", help="how often it was asked in this process")
"""


def test_a_failing_teacher_fails_as_often_as_it_is_told():
    """With the kind that was asked for, then it answers; each attempt is among its requests."""
    teacher = FailingTeacher("overloaded", times=2)
    for _ in range(2):
        with pytest.raises(TeacherError) as found:
            asyncio.run(teacher.complete(request()))
        assert found.value.kind.name == "overloaded"
    assert json.loads(asyncio.run(teacher.complete(request())).text)["response"]
    assert len(teacher.requests) == 3


def test_a_run_goes_on_with_the_originals_where_a_teacher_refuses(tmp_path):
    """``times`` left out is every time."""
    go(job(tmp_path, rows(3), REFLECT), tmp_path / "run", FailingTeacher("refused"))
    assert [line["outcome"] for line in side(tmp_path / "run")] == ["original"] * 3


def test_a_slow_teacher_shows_how_many_are_under_way():
    """As many as were asked at once; none when they are done, or when they are given up."""
    teacher = SlowTeacher(0.2)

    async def ask() -> tuple[int, int]:
        calls = [asyncio.create_task(teacher.complete(request(number))) for number in range(3)]
        await asyncio.sleep(0.05)
        seen = teacher.under_way
        calls[0].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return seen, len(teacher.requests)

    assert asyncio.run(ask()) == (3, 2)
    assert teacher.under_way == 0


@pytest.fixture
def calls(rt_project):
    """A file with a metric that counts its calls, and data to score with it."""
    rt_project.write("counting_calls.py", COUNT)
    rt_project.write("data.json", [{"instruction": "Name a river.", "output": "The Rhine is one."}])
    return ("score", "data.json", "--student", "fake", "--metric", "calls", "--out")


def test_a_command_in_a_process_of_its_own_remembers_nothing(rt_project, calls):
    """In this process the second call finds what the first one left; a fresh one begins anew."""
    values = []
    for name, fresh in (("a", False), ("b", False), ("c", True), ("d", True)):
        done = rt_project.rt(*calls, f"{name}.jsonl", plugins=["./counting_calls.py"], fresh=fresh)
        assert done.code == 0, done
        values += [line["metrics"]["calls"] for line in rt_project.records(f"{name}.jsonl")]
    assert values == [1.0, 2.0, 1.0, 1.0]


@pytest.mark.parametrize("fresh", [False, True])
def test_an_error_is_one_line(rt_project, fresh):
    """In this process and in another; whatever else the command did is shown by the assertion."""
    done = rt_project.rt("score", "nowhere.json", "--student", "fake", "--out", "s.jsonl", fresh=fresh)
    assert "nowhere.json" in done.error()
    with pytest.raises(AssertionError, match=r"nowhere\.json"):
        done.error(code=3)


def test_a_project_that_goes_wrong_says_how(rt_project):
    """The message of the failed assertion holds the output of the run."""
    with pytest.raises(AssertionError, match=r"unknown stage 'reflct'\. Did you mean 'reflect'"):
        rt_project.run([{"reflct": "response"}])


def test_pytest_pays_little_for_the_fixture():
    """Every test run of whoever has this package imports it: no command line, no contract, nothing heavy with it."""
    heavy = (
        "rt_framework.cli",
        "rt_framework.plugin.host",
        "rt_framework.testing.contracts",
        "rt_framework.testing.project",
    )
    heavy += ("click", "rich", "yaml", "numpy", "torch", "transformers", "litellm", "datasets", "pyarrow", "sqlite3")
    look = "import json, sys, rt_framework.testing.pytest_plugin\nprint(json.dumps([*{*sys.argv} & {*sys.modules}]))"
    done = python(look, *heavy, env=environment())
    assert json.loads(done.stdout) == [], done.stderr


LOOK = """
import json, os, sys
own = sorted(name for name in sys.modules if name.partition(".")[0] == "tests" or name == "torch")
print(json.dumps([hash("a text"), os.environ["ACME"], os.getcwd(), sys.argv[1:], own]))
sys.modules["tests"] = None
"""


def test_a_fork_is_a_process_that_has_loaded_the_framework_alone(tmp_path, monkeypatch):
    """With the environment, folder and arguments of its call, and other hashes; it knows nothing of an earlier one."""
    monkeypatch.chdir(tmp_path)
    for word in ("one", "two"):
        done = forked(LOOK, word, ACME=f"its {word}")
        hashed, *told = json.loads(done.stdout)
        assert told == [f"its {word}", str(tmp_path), [word], []]
        assert (done.returncode, done.stderr) == (0, "")
        assert hashed != hash("a text")


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("raise ValueError('wrong')", 1, "ValueError: wrong"),
        ("import sys; print('bye', file=sys.stderr); sys.exit(3)", 3, "bye"),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
    ],
)
def test_how_a_fork_ends_is_told(code, status, told):
    """As of any process; the next one is served."""
    done = forked(code)
    assert done.returncode == status
    assert told in done.stderr
    assert forked("print('still here')").stdout == "still here\n"
