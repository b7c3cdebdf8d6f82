"""Answers that one run has bought, as a file that others repeat the run from, and check."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rt_framework.builtin.teachers.replay import ReplayTeacher
from rt_framework.builtin.teachers.settings import ReplaySettings
from rt_framework.errors import DataError
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Sampling, Turn, digest
from rt_framework.model.calls import Request
from rt_framework.results import open_run
from rt_framework.teacher import call_key
from rt_framework.testing.server import FaultServer
from tests.helpers import the_error
from tests.reliability.jobs import Commands, litellm_at, priced_at
from tests.run_helpers import attempts, json_lines, outputs, rows, write_json

KEY = "sk-canary-0123456789abcdef"
NAMES = ("reflection", "pair", "index", "draw", "step")
FIRST, SECOND = "litellm:openai/first", "litellm:openai/second"

PIPELINE: list[dict[str, Any]] = [
    {
        "reflect": {
            "reflection": {"rounds": {"steps": 3, "temperature": 0.5}},
            "teacher": "first",
            "draws": 2,
            "as": "a",
        }
    },
    {"reflect": {"reflection": {"response": {"temperature": 0.8}}, "teacher": "second", "draws": 2, "as": "b"}},
    # The same question by another request, with more room for the answer.
    {
        "reflect": {
            "reflection": {"response": {"temperature": 0.8, "max_tokens": 2048}},
            "teacher": "second",
            "draws": 2,
            "as": "c",
        }
    },
    {"choose": {"highest": "ifd"}},
]
"""A conversation in steps, two draws of each question, two teachers, and two requests for one question."""


def answer(body: dict[str, Any]) -> str:
    """An answer that depends on everything that was sent, in the form that was asked for; one in five has no form."""
    luck = digest(body)
    if int(luck[:4], 16) % 5 == 0:
        return f"of no use: {luck}"
    words = f"The answer {luck[:8]} is {'very ' * (int(luck[4], 16) % 5)}long."
    if "response_format" in body:
        names = body["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps(dict.fromkeys(names, words))
    token = re.findall(r"\[\[end ([0-9a-f]{8})\]\]", body["messages"][-1]["content"])[-1]
    names = re.findall(rf"\[\[([a-z]+) {token}\]\]", body["messages"][-1]["content"])
    return "".join(f"[[{name} {token}]]\n" + ("" if name == "end" else f"{words}\n") for name in names)


def job(folder: Path, teachers: dict[str, Any], pipeline: Any = PIPELINE) -> Path:
    """A config with these teachers."""
    data = write_json(folder / "data.json", rows(12))
    raw = {"data": {"path": str(data)}, "student": "fake", "teachers": teachers, "pipeline": pipeline}
    return write_json(folder / "job.yaml", raw | {"scoring": {"preset": "selective-rt"}, "limits": {"concurrency": 4}})


def bought(folder: Path, server: FaultServer) -> Path:
    """The config of a job whose second teacher has neither a schema nor a price."""
    first = priced_at(server, model="openai/first")
    second = litellm_at(server, model="openai/second", structured=False)
    return job(folder, {"first": first, "second": second})


def replayed(folder: Path, path: Path) -> Path:
    """The config of the same job with the answers in a file."""
    named = {"first": FIRST, "second": SECOND}
    return job(folder, {name: {"replay": {"path": str(path), "teacher": told}} for name, told in named.items()})


@pytest.fixture
def rt(monkeypatch, capfd):
    told = Commands(monkeypatch, capfd)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return told


@pytest.fixture
def run_dir(tmp_path, rt):
    """A finished run whose answers came over HTTP."""
    with FaultServer(answer) as server:
        done = rt("run", bought(tmp_path, server), "--run-dir", tmp_path / "run")
        assert done.code == 0, done.err
        (tmp_path / "billed").write_text(str(server.billed))
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.jsonl.gz"])
def test_an_export_repeats_the_run(name, run_dir, tmp_path, rt):
    """Every answer is there; a run from the file leaves the same bytes, sends nothing and costs nothing."""
    path = tmp_path / name
    billed = int((tmp_path / "billed").read_text())
    assert rt("answers", run_dir, "--export", path).out == f"wrote {path}: {billed} answers\n"
    packed = path.read_bytes()
    lines = [json.loads(line) for line in (gzip.decompress(packed) if name.endswith("gz") else packed).splitlines()]
    assert len(lines) == billed
    assert {line["teacher"] for line in lines} == {FIRST, SECOND}
    assert {(line["draw"], line["step"]) for line in lines} >= {(0, 0), (1, 0), (1, 2)}
    assert {line["index"] for line in lines} >= {0, 1}
    questions = [tuple(line[name] for name in ("teacher", *NAMES)) for line in lines]
    assert len(set(questions)) < len(questions), "no question was asked by two requests, which would be mistaken"
    with FaultServer(answer) as server:  # a server that nothing in the config names, to count requests that go astray
        done = rt("run", replayed(tmp_path, path), "--run-dir", tmp_path / "again")
        assert (done.code, server.requests) == (0, 0), done.err
    assert outputs(tmp_path / "again") == outputs(run_dir)
    assert attempts(tmp_path / "again") == {("answered", ""): billed}
    with Ledger.reading(tmp_path / "again/ledger.sqlite") as ledger:
        assert ledger.costs.spent() == 0


def test_a_line_holds_the_whole_call_and_neither_key_nor_host(run_dir, tmp_path, rt):
    """The columns of the request give the key of the call; a price that is not known is null; no place is named."""
    path = tmp_path / "answers.jsonl"
    assert rt("answers", run_dir, "--export", path).code == 0
    for line in json_lines(path):
        turns = tuple(Turn(turn["role"], turn["content"]) for turn in line["messages"])
        named = (line["reflection"], line["pair"], line["index"], turns, Sampling(**line["sampling"]), line["schema"])
        assert call_key(line["teacher"], Request(*named, draw=line["draw"], step=line["step"])) == line["key"]
        assert (line["finish_reason"], line["prompt_tokens"] > 0, line["completion_tokens"] > 0) == ("stop", True, True)
        # Where one of the teachers has no price, a cost of nothing is not known to be one.
        assert line["nano_dollars"] is None if line["teacher"] == SECOND else line["nano_dollars"] > 0
    text = path.read_text("utf-8")
    assert KEY not in text
    assert "127.0.0.1" not in text


def test_equal_answers_give_equal_files(run_dir, tmp_path, rt):
    """In whichever order they were bought: the resumed run of a pilot asks in another order, and all at once."""
    with FaultServer(answer) as server:
        config = bought(tmp_path, server)
        assert rt("pilot", config, "-n", 5, "--seed", 3, "--run-dir", tmp_path / "other").code == 0
        assert rt("run", config, "--set", "limits.concurrency=1", "--run-dir", tmp_path / "other").code == 0
    for name in ("run", "other"):
        assert rt("answers", tmp_path / name, "--export", tmp_path / f"{name}.jsonl").code == 0
    assert (tmp_path / "run.jsonl").read_bytes() == (tmp_path / "other.jsonl").read_bytes()


def test_the_answers_in_use_are_exported(run_dir, tmp_path, rt):
    """An answer that was withdrawn is not: its place is taken by the one that was bought instead."""
    path = tmp_path / "answers.jsonl"
    with FaultServer(lambda body: answer({**body, "anew": True})) as server:
        done = rt("retry", bought(tmp_path, server), "--kind", "format", "--moved", "--run-dir", run_dir)
        assert done.code == 0 and server.billed, done.err
    assert rt("answers", run_dir, "--export", path).code == 0
    assert rt("run", replayed(tmp_path, path), "--run-dir", tmp_path / "again").code == 0
    assert outputs(tmp_path / "again") == outputs(run_dir)


# --- the command --------------------------------------------------------------------------------


def test_a_table_shows_what_there_is(run_dir, tmp_path, rt):
    """A row for each reflection of each teacher, under the name that `replay` takes."""
    done = rt("answers", run_dir)
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines() if "litellm" in line]
    assert [line[:2] for line in lines] == [[FIRST, "rounds"], [SECOND, "response"]]
    assert sum(int(line[3]) for line in lines) == int((tmp_path / "billed").read_text())


def test_a_file_is_checked_against_a_run(run_dir, tmp_path, rt):
    """The same, differing and missing answers are counted, and the code says whether all is the same."""
    path = tmp_path / "answers.jsonl"
    assert rt("answers", run_dir, "--export", path).code == 0
    lines = json_lines(path)
    count = len(lines)
    same = rt("answers", run_dir, "--check", path)
    told = f"{count} answers are the same, 0 differ, 0 are only in {path}, 0 are only in {run_dir}\n"
    assert (same.code, same.out) == (0, told)
    lines[1]["text"] = "Another one."
    lines[2]["key"] = "0" * 32
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-3]))
    other = rt("answers", run_dir, "--check", path)
    told = f"{count - 5} answers are the same, 1 differ, 1 are only in {path}, 4 are only in {run_dir}"
    assert (other.code, other.out.splitlines()[0]) == (1, told)
    about = f"reflection {lines[1]['reflection']}, pair {lines[1]['pair']}, index {lines[1]['index']}"
    assert other.out.splitlines()[1].startswith(f"the first that differs: {about}")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"key": "a"', "line 2: broken JSON"),
        ('{"reflection": "response"}', "row 1 (from 0): has no 'key' that is a text"),
        ('{"key": "b", "text": "y"}', "row 1 (from 0): a second answer to the call b"),
    ],
)
def test_a_file_that_cannot_be_checked_is_named(line, word, run_dir, tmp_path, rt):
    """With its line, in one line."""
    path = tmp_path / "answers.jsonl"
    path.write_text(f'{{"key": "b", "text": "x"}}\n{line}\n')
    error = the_error(rt("answers", run_dir, "--check", path))
    assert word in error
    assert str(path) in error


def test_a_run_without_answers_writes_nothing(tmp_path, rt):
    """One line says so; a path that is no run directory, and both options at once, are refused too."""
    config = job(tmp_path, {}, [{"gate": {"ifd": {"below": 2}}}])
    assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
    out = tmp_path / "answers.jsonl"
    assert "holds no answer of a teacher" in the_error(rt("answers", tmp_path / "run", "--export", out))
    assert "no ledger here; is this a run directory?" in the_error(rt("answers", tmp_path, "--export", out))
    assert "call rt answers once for each" in the_error(rt("answers", tmp_path, "--export", out, "--check", out))
    assert not out.exists()


# --- the teacher --------------------------------------------------------------------------------

LINE = {"reflection": "response", "pair": "abc", "index": 0, "text": "One."}


def replay(path: Path, *lines: dict[str, Any], **options: Any) -> ReplayTeacher:
    """The teacher of a file with these lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ReplayTeacher(ReplaySettings(str(path), **options))


def test_several_teachers_have_to_be_told_apart(tmp_path):
    """The refusal names all of them; a name that the file lacks is refused with those that it has."""
    path = tmp_path / "answers.jsonl"
    lines = [
        LINE | {"teacher": "a"},
        LINE | {"teacher": "b", "text": "Two."},
        LINE | {"teacher": 'c{"x": 1}', "pair": "xyz"},
    ]
    told = r'answers of several teachers to the same question; name one .*: "a", "b", "c\{\\"x\\": 1\}"$'
    with pytest.raises(DataError, match=told) as caught:
        _ = replay(path, *lines).identity
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match='no answers of teacher \'d\'; name one that it has: "a", "b"'):
        _ = replay(path, *lines, teacher="d").identity
    assert replay(path, *lines, teacher="a").identity != replay(path, *lines, teacher="b").identity
    # Where no two answer the same question, the file leaves no doubt, and needs no name.
    assert replay(path, lines[0], lines[2]).identity


def test_requests_that_differ_tell_answers_to_one_question_apart(tmp_path):
    """By messages, sampling and schema; a request that is none of them has no answer, and a single answer has no such
    condition.
    """
    path = tmp_path / "answers.jsonl"
    asked = {"messages": [{"role": "user", "content": "Write."}], "schema": None}
    cold, warm = ({"temperature": value, "top_p": 1.0, "max_tokens": 9, "seed": None} for value in (0.0, 0.5))
    lines = [LINE | asked | {"sampling": cold}, LINE | asked | {"sampling": warm, "text": "Two."}]
    teacher = replay(path, *lines)

    def text(temperature: float, content: str = "Write.") -> str:
        sampling = Sampling(temperature, max_tokens=9)
        request = Request("response", "abc", 0, (Turn("user", content),), sampling)
        return asyncio.run(teacher.complete(request)).text

    assert (text(0.0), text(0.5)) == ("One.", "Two.")
    with pytest.raises(Exception, match="has 2 answers for reflection response, pair abc, index 0, and none to a req"):
        text(0.0, "Rewrite.")
    teacher = replay(path, lines[0])
    assert text(0.5, "Rewrite.") == "One."
    with pytest.raises(DataError, match="line 2: a second, different answer"):
        _ = replay(path, lines[0], lines[0] | {"text": "Two."}).identity


@pytest.mark.parametrize(
    ("schemas", "expected"), [([None], False), ([None, {"type": "object"}], True), ([], True)], ids=str
)
def test_an_export_says_whether_its_answers_are_json(schemas, expected, tmp_path):
    """Unless the option says it; a file without schemas holds JSON, as before."""
    lines = [LINE | {"index": index, "schema": schema} for index, schema in enumerate(schemas)] or [LINE]
    assert replay(tmp_path / "answers.jsonl", *lines).structured is expected
    assert replay(tmp_path / "answers.jsonl", *lines, structured=not expected).structured is not expected


def test_a_packed_file_is_the_same_teacher(tmp_path):
    """And one that is cut off is named with its line."""
    plain = replay(tmp_path / "answers.jsonl", *(LINE | {"index": index} for index in range(2000)))
    packed = tmp_path / "answers.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "answers.jsonl").read_bytes()))
    assert ReplayTeacher(ReplaySettings(str(packed))).identity == plain.identity
    packed.write_bytes(packed.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"answers\.jsonl\.gz: line \d+: broken gzip data"):
        _ = ReplayTeacher(ReplaySettings(str(packed))).identity


def test_reasoning_goes_with_its_answer(tmp_path, rt):
    """Its text and its tokens, so that an answer that was nothing but reasoning fails in the same way from the file."""
    with FaultServer(answer) as server:
        server.reasoning_tokens = 7
        assert rt("run", bought(tmp_path, server), "--run-dir", tmp_path / "run").code == 0
    path = tmp_path / "answers.jsonl"
    rt("answers", tmp_path / "run", "--export", path)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert {(line["reasoning_tokens"], line["reasoning"]) for line in lines} == {(7, "The question has two sides.")}
    rt("run", replayed(tmp_path, path), "--run-dir", tmp_path / "again")
    assert outputs(tmp_path / "again") == outputs(tmp_path / "run")
    with open_run(tmp_path / "again") as run:
        assert all(bill.usage.reasoning_tokens == 7 * bill.answered for bill in run.cost.bills)
