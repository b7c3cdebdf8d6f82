"""The student as a teacher: it answers with the weights that score, for nothing, and one thing after the other."""

from __future__ import annotations

import pickle
import threading
import time
from functools import partial

import pytest

from rt_framework import TeacherError
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.teachers.hf import HFTeacher
from rt_framework.builtin.teachers.hf_settings import HFTeacherSettings
from rt_framework.errors import ConfigError, PluginError
from rt_framework.jobs.quoting import quote
from rt_framework.model import Request, Sampling, Turn
from rt_framework.plugin.host import Host
from rt_framework.results import open_run
from rt_framework.testing import FakeStudent
from tests import fakes_plugin
from tests.run_helpers import attempts, go, job, outputs, rows, side

OWN = [{"reflect": {"reflection": "response", "teacher": "self"}}, {"choose": {"highest": "ifd"}}]
ALONE = [{"reflect": "response"}, {"choose": {"highest": "ifd"}}]


class Other(FakeStudent):
    """Another model."""

    fingerprint = "other-student"


class Mute(FakeStudent):
    """A student that can only score."""

    fingerprint = "mute-student"

    generate = None


class Partial(FakeStudent):
    """A student that leaves the last answer of a batch out."""

    def generate(self, requests):
        """All but one."""
        return super().generate(requests)[:-1]


class Alone(FakeStudent):
    """A student that notes whether two threads ever used it at once."""

    def __init__(self):
        super().__init__()
        self._busy = threading.Lock()
        self.together = False

    def _noted(self, work):
        self.together |= not self._busy.acquire(blocking=False)
        time.sleep(0.002)
        found = work()
        self._busy.release()
        return found

    def score(self, batch):
        """Slowly."""
        return self._noted(lambda: FakeStudent.score(self, batch))

    def generate(self, requests):
        """Slowly too."""
        return self._noted(lambda: FakeStudent.generate(self, requests))


class Choosy(FakeStudent):
    """A student that cannot take a question about the second row."""

    def generate(self, requests):
        """The whole batch fails with it."""
        if any("Name 1 things" in turn.content for request in requests for turn in request.messages):
            raise TeacherError("bad_request", "the text has a token that is not in the vocabulary")
        return super().generate(requests)


def own(tmp_path, pipeline=OWN, count=4, **more):
    """A job that asks the student, and no other teacher."""
    return job(tmp_path, rows(count), pipeline, **{"teacher": None, "teachers": {"self": "student"}, **more})


def test_the_student_answers_and_scores(tmp_path):
    """In one run, for nothing: its answers are a teacher's, whose identity is made of the student's."""
    student = FakeStudent()
    summary = go(own(tmp_path, limits={"budget_usd": 0}), tmp_path / "run", student=student)
    assert summary.outcomes["failed"] == 0
    assert len(student.requests) == 4
    assert student.forward_passes > 0
    assert all("response" in line["scores"] for line in side(tmp_path / "run"))
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert run.facts["teacher self"] == "student fake-student-1"
        assert "place self" not in run.facts


def test_a_resumed_run_asks_the_student_nothing(tmp_path):
    """Neither an answer nor a loss is computed again."""
    config = job(tmp_path, rows(4), ALONE, teacher="student")
    go(config, tmp_path / "run")
    before = outputs(tmp_path / "run")
    again = FakeStudent()
    go(config, tmp_path / "run", student=again)
    assert (again.requests, again.forward_passes) == ([], 0)
    assert outputs(tmp_path / "run") == before


def test_a_changed_student_is_another_teacher(tmp_path):
    """A run directory refuses both changes by name."""
    go(own(tmp_path), tmp_path / "run")
    changed = "student: fake-student-1 → other-student; teacher self: student fake-student-1 → student other-student"
    with pytest.raises(ConfigError, match=changed):
        go(own(tmp_path), tmp_path / "run", student=Other())


def test_a_named_student_that_no_metric_reads_is_asked(tmp_path, monkeypatch):
    """It is built for its answers, and is a fact of the run."""
    base = Other()
    monkeypatch.setitem(fakes_plugin.HELD, "other", base)
    student = FakeStudent()
    config = own(tmp_path, students={"base": "held:other"}, teachers={"self": "student:base"})
    go(config, tmp_path / "run", student=student)
    assert (len(base.requests), base.forward_passes, student.requests) == (4, 0, [])
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert run.facts["teacher self"] == "student other-student"
        assert run.facts["student base"] == "other-student"


def test_two_names_of_one_student_are_one_teacher(tmp_path):
    """An answer belongs to the student, so a second name is refused as for any teacher."""
    pipeline = [*OWN, {"reflect": {"reflection": "response", "teacher": "again", "as": "again"}}]
    with pytest.raises(ConfigError, match="'again' and 'self' are both student fake-student-1"):
        go(own(tmp_path, pipeline, teachers={"self": "student", "again": "student"}), tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"student": "held:mute"},
            "teacher 'self' asks the main student, which can score but not answer: its plugin has",
        ),
        ({"student": None}, "teacher 'self' asks the main student, and there is none here"),
        ({"teachers": {"self": "student:bse"}}, "unknown student 'bse'. Did you mean 'base'?"),
        (
            {"teachers": {"self": "student:base"}},
            "teacher 'self' asks the student 'base', which can score but not answer",
        ),
    ],
)
def test_a_student_that_cannot_be_asked_is_one_line(more, line, tmp_path, monkeypatch):
    """Before anything is asked, and in a quote as in a run."""
    monkeypatch.setitem(fakes_plugin.HELD, "mute", Mute())
    fakes_plugin.HELD["student"] = FakeStudent()
    pipeline = [OWN[0], {"choose": "newest"}]
    config = own(tmp_path, pipeline, **{"students": {"base": "held:mute"}, **more})
    for ask in (quote, partial(go, student=FakeStudent())):
        given = (config, tmp_path / "run") if ask is not quote else (host(), config, tmp_path / "run")
        with pytest.raises(ConfigError) as caught:
            ask(*given)
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)


def host():
    """Finds the parts of the tests."""
    return Host(modules=["tests.fakes_plugin"], only=[], strict=True)


def test_the_quote_knows_that_it_is_free(tmp_path):
    """And that the answers of an earlier run are there."""
    fakes_plugin.HELD["student"] = FakeStudent()
    config = own(tmp_path)
    quoted = quote(host(), config, tmp_path / "run")
    assert (quoted.calls, quoted.sends.high, quoted.cost.high) == (4, 8, 0)
    go(config, tmp_path / "run")
    assert quote(host(), config, tmp_path / "run").sends.high == 0


def test_answers_and_forward_passes_wait_for_each_other(tmp_path):
    """A model is used by one of them at a time."""
    student = Alone()
    pipeline = [*OWN, {"reflect": {"reflection": "instruction", "teacher": "self"}}, {"choose": {"highest": "ifd"}}]
    go(
        own(tmp_path, pipeline, 24, teachers={"self": {"student": {"batch_size": 2}}}),
        tmp_path / "run",
        student=student,
    )
    assert len(student.requests) == 48
    assert not student.together


def test_requests_go_in_batches(tmp_path):
    """As many as the option says."""
    sizes = []

    class Noting(FakeStudent):
        def generate(self, requests):
            sizes.append(len(requests))
            return super().generate(requests)

    config = own(tmp_path, count=9, teachers={"self": {"student": {"batch_size": 4}}})
    go(config, tmp_path / "run", student=Noting())
    assert sizes == [4, 4, 1]


def test_a_request_that_is_refused_fails_alone(tmp_path):
    """The others of its batch are answered, each once."""
    summary = go(own(tmp_path), tmp_path / "run", student=Choosy())
    assert attempts(tmp_path / "run") == {("answered", ""): 3, ("failed", "bad_request"): 1}
    (failed,) = [line for line in side(tmp_path / "run") if line["failures"]]
    assert failed["row"] == 1
    assert summary.total == 4


def test_a_student_that_leaves_an_answer_out_ends_the_run(tmp_path):
    """An answer must not be taken for that to another question."""
    with pytest.raises(PluginError, match="the student gave 3 replies to 4 requests"):
        go(own(tmp_path), tmp_path / "run", student=Partial())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("student", [FakeStudent, Choosy])
def test_other_processes_answer_too(student, tmp_path):
    """With their own copies of the student, to the same result; a failure keeps its kind on the way."""
    go(own(tmp_path, count=6), tmp_path / "here", student=student())
    spread = {"preset": "selective-rt", "executor": {"processes": {"workers": 2}}}
    teachers = {"self": {"student": {"batch_size": 2}}}
    go(own(tmp_path, count=6, scoring=spread, teachers=teachers), tmp_path / "there", student=student())
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    assert attempts(tmp_path / "there") == attempts(tmp_path / "here")


def test_a_failure_of_a_teacher_can_be_sent():
    """With all that decides about money and repetition."""
    error = TeacherError("paid_unreadable", "cut off", 3.0, billed="yes", raw=b"half", nano_dollars=7)
    sent = pickle.loads(pickle.dumps(error))
    assert (sent.kind, str(sent), vars(sent)) == (error.kind, str(error), vars(error))


# --- with a model -----------------------------------------------------------------------------


@pytest.fixture
def tiny_model(tmp_path, monkeypatch):
    """The folder of a small random model, and no model in memory."""
    from tests import tiny_models as tiny  # takes seconds, which each process of a student would take too

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models._load.cache_clear()
    return tiny.save(tmp_path / "model", tiny.llama(256), tiny.tokenizer(bos=True, chat=tiny.CHAT))


def test_the_student_answers_as_the_local_teacher_does(tiny_model):
    """One code, one model, one copy of it; its losses are the same before and after."""
    student = HFStudent(HFSettings(tiny_model, device="cpu"))
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
    requests = [
        Request("test", "0", 0, (Turn("user", "Name the colours."),), Sampling(0.7, 0.9, 9, seed=4)),
        Request("test", "1", 0, (Turn("user", "What is 12 times 7?"),), Sampling(max_tokens=20), schema),
    ]
    teacher = HFTeacher(HFTeacherSettings(tiny_model, device="cpu"))
    assert student.generate(requests) == teacher.complete_many(requests)
    assert models._load.cache_info().misses == 1


def test_a_run_loads_the_model_once(tiny_model, tmp_path, monkeypatch):
    """Though three other models have pushed it out of the cache of loaded models before the first answer."""
    monkeypatch.setenv("RT_TEST_LENIENT", "1")
    student = HFStudent(HFSettings(tiny_model, device="cpu"))
    assert student.packs
    models._load.cache_clear()
    config = job(
        tmp_path,
        rows(3),
        [{"reflect": "plain"}, {"choose": {"highest": "loss"}}],
        teacher="student",
        scoring={"preset": "chat"},
    )
    go(config, tmp_path / "run", student=student)
    assert attempts(tmp_path / "run") == {("answered", ""): 3}
    assert models._load.cache_info().misses == 0


SHORT = """\
---
parts:
  response:
    meaning: one short sentence that answers the question
    rewrites: response
max_tokens: 48
---
Answer in one short sentence.

--- user ---
{{ instruction }}
"""


@pytest.mark.model
def test_the_real_model_rewrites_and_chooses(smollm2_saved, tmp_path):
    """SmolLM2 answers in the form that the question asks for, and scores its own answer with the same weights."""
    models._load.cache_clear()
    (tmp_path / "short.md").write_text(SHORT)
    student = HFStudent(HFSettings(smollm2_saved, device="cpu"))
    question = {"prompt": {"file": str(tmp_path / "short.md")}}
    pipeline = [{"reflect": {"reflection": question, "as": "short"}}, {"choose": {"highest": "loss"}}]
    data = [{"instruction": "What is the capital of France?", "input": "", "output": "It is a town."}]
    config = job(tmp_path, data, pipeline, teacher="student", scoring={"preset": "chat"})
    go(config, tmp_path / "run", student=student)
    (line,) = side(tmp_path / "run")
    assert line["failures"] == []
    assert set(line["scores"]) == {"original", "short"}
    assert models._load.cache_info().misses == 1
