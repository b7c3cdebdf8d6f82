"""The plain question: what a model is asked, what is taken as its answer, and `rt answer` with a student."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rt_framework.builtin.reflections.answer import AnswerReflection
from rt_framework.builtin.reflections.settings import AnswerSettings
from rt_framework.model import Pair, Reply, Turn, Unparsed
from rt_framework.testing import FakeStudent
from tests import fakes_plugin
from tests.helpers import Cli, rows, the_error, write_json
from tests.run_helpers import go, job, side
from tests.run_helpers import rows as run_rows

EARLIER = (Turn("user", "Hello."), Turn("assistant", "Good day."))
PAIR = Pair("Name a gas.", "A noble one.", "Helium.", "Be brief.", EARLIER)


class Speaking(FakeStudent):
    """A student that answers with the last word it was told; *silent* for some, and cut off for others."""

    fingerprint = "speaking"

    def __init__(self, silent=(), cut=()):
        super().__init__()
        self._ends = {**dict.fromkeys(silent, ("", "stop")), **dict.fromkeys(cut, ("half an ans", "length"))}

    def generate(self, requests):
        """By the row's number, which its instruction names."""
        self.requests += requests
        return [self._reply(request.messages[-1].content) for request in requests]

    def _reply(self, asked):
        text, end = self._ends.get(int(asked.split()[1]), (f"Said about: {asked}", "stop"))
        return Reply(text, end)


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """`rt` with a student of this module, in a directory with data."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(6))
    command = Cli(monkeypatch, capfd)

    def run(student, *arguments):
        fakes_plugin.HELD["speaking"] = student
        return command(
            *("-p", "tests.fakes_plugin", "answer", "data.json", "--student", "held:speaking", "--out", "new.json"),
            *arguments,
            plugin=False,
        )

    return run


def test_the_conversation_is_asked_and_not_the_response():
    """System prompt, earlier turns, instruction and input, as the chat template of a student shows them."""
    request = AnswerReflection(AnswerSettings(max_tokens=9)).render(PAIR, 0, True)
    assert request.messages == (Turn("system", "Be brief."), *EARLIER, Turn("user", "Name a gas.\nA noble one."))
    assert (request.schema, request.sampling.max_tokens, request.sampling.temperature) == (None, 9, 0.0)
    assert "Helium" not in repr(request.messages)


@pytest.mark.parametrize(
    ("reply", "keep_cut", "expected"),
    [
        (Reply(" Neon. "), False, "Neon."),
        (Reply("I cannot say."), False, "I cannot say."),
        (Reply("Helium."), False, "Helium."),
        (Reply(" \n "), False, "empty"),
        (Reply("Ne", "length"), False, "truncated"),
        (Reply("Ne", "length"), True, "Ne"),
        (Reply(" ", "length"), True, "empty"),
        (Reply("Ne", "content_filter"), True, "refused"),
    ],
)
def test_an_answer_is_taken_as_it_is_or_not_at_all(reply, keep_cut, expected):
    """A refusal, or the same answer as before, shows how the model answers."""
    reflection = AnswerReflection(AnswerSettings(keep_cut=keep_cut))
    parsed = reflection.parse(PAIR, reflection.render(PAIR, 0, False), reply)
    assert (parsed.kind if isinstance(parsed, Unparsed) else parsed.response) == expected
    if isinstance(parsed, Pair):
        assert (parsed.question, parsed.history, parsed.system) == (PAIR.question, PAIR.history, PAIR.system)


def test_a_student_answers_a_file(cli):
    """Every row with its own columns, the answer in the place of the response; nothing is asked twice."""
    student = Speaking()
    done = cli(student)
    assert done.code == 0 and "wrote new.json: 6 of 6 samples answered" in done.out
    new = json.loads(Path("new.json").read_text())
    asked = ["\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows(6)]
    assert new == [row | {"output": f"Said about: {text}"} for row, text in zip(rows(6), asked, strict=True)]
    assert len(student.requests) == 6
    again = Speaking()
    assert cli(again).code == 0 and not again.requests


def test_a_row_without_an_answer_is_left_out(cli):
    """Its old response must not be taken for the student's, and the line says how many there are."""
    done = cli(Speaking(silent=[2], cut=[4]))
    assert "wrote new.json: 5 of 6 samples answered; 1 sample left out: no answer: empty" in done.out
    assert "1 answer was cut off at the largest number of tokens" in done.out
    new = json.loads(Path("new.json").read_text())
    assert [row["topic"] for row in new] == [f"physics {number}" for number in (1, 3, 4, 5, 6)]
    assert new[2]["output"] == "half an ans"


def test_cut_answers_are_left_out_if_wanted(cli):
    """They are asked once only: drawn again until one is short, answers would be short ones."""
    student = Speaking(cut=[4, 5])
    done = cli(student, "--drop-cut")
    assert "wrote new.json: 4 of 6 samples answered; 2 samples left out: no answer: truncated" in done.out
    assert len(student.requests) == 6


def test_a_student_that_cannot_answer_is_one_line(cli):
    """It scores only."""

    class Mute(FakeStudent):
        generate = None

    assert "can score but not answer" in the_error(cli(Mute()))
    assert not Path("new.json").exists()


@pytest.mark.parametrize("failed", ["keep", "drop"])
def test_a_stage_drops_what_its_question_failed_for(failed, tmp_path):
    """Only if it is told to, and only samples of which every draw failed."""
    stage = {"reflection": {"answer": {"temperature": 0.5}}, "draws": 2, "failed": failed}
    config = job(tmp_path, run_rows(3), [{"reflect": stage}, {"choose": "newest"}], teacher="student")
    go(config, tmp_path / "run", student=Speaking(silent=[2]))
    lines = {line["row"]: (line["outcome"], line["reason"]) for line in side(tmp_path / "run")}
    left = ("dropped", "no answer: empty") if failed == "drop" else ("original", None)
    assert lines == {0: ("rewritten", None), 1: ("rewritten", None), 2: left}
