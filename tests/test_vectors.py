"""Vectors by the student's hidden states: what selectors are given, computed once, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from attrs import evolve

from rt_framework import OutOfMemory, Verdict
from rt_framework.errors import ConfigError, PluginError
from rt_framework.jobs.quoting import quote
from rt_framework.jobs.selecting import select_file
from rt_framework.kit.turns import turns
from rt_framework.plugin.host import Host
from rt_framework.spans import Span
from rt_framework.testing import FakeStudent
from rt_framework.testing.fakes import _direction, _words
from tests import fakes_plugin
from tests.run_helpers import go, job, rows, side

SELECT = [{"select": "first-axis"}]
READ: list[Sequence[float] | None] = []
"""The vectors that the selector has read in its last selection."""


class FirstAxis:
    """Keeps the samples whose question points the way of the first axis."""

    needs = ()

    def embeds(self, pair, frame):
        """The question alone."""
        return frame.instruction_alone(pair)

    def select(self, rows):
        """By the first number of each vector."""
        READ[:] = [row.vector for row in rows]
        return [Verdict(vector is not None and vector[0] > 0, f"vector {vector}") for vector in READ]


class Answers(FirstAxis):
    """Looks at the answers of all turns."""

    def embeds(self, pair, frame):
        """Each after the same words, whatever the frame."""
        return [Span("Say: ", turn.response) for turn in turns(pair)]


class OneByOne:
    """A stage for single samples that declares vectors."""

    needs = ()
    reflections = {}  # noqa: RUF012
    embeds = FirstAxis.embeds

    def __init__(self, make):
        """Needs nothing."""

    async def run(self, sample, ctx):
        """Never runs."""
        return sample


class Counting(FakeStudent):
    """A student that notes the sequences that it embeds."""

    def __init__(self):
        super().__init__()
        self.embedded: list[int] = []

    def embed(self, batch):
        """As many as there are."""
        self.embedded.append(len(batch))
        return super().embed(batch)


class Small(Counting):
    """A student whose device has room for two sequences, and for none of more than 40 tokens."""

    def embed(self, batch):
        """Out of memory, or not."""
        if len(batch) > 2 or any(len(span.ids) > 40 for span in batch):
            raise OutOfMemory("no room")
        return super().embed(batch)


class Blind(FakeStudent):
    """A student that gives no vectors."""

    embed = None


class Wrong(FakeStudent):
    """A student whose vectors are not those of the batch."""

    def __init__(self, change):
        super().__init__()
        self._change = change

    def embed(self, batch):
        """Changed."""
        return self._change(super().embed(batch))


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Offers the parts of this module through the plugin of the tests."""
    selectors, stages = fakes_plugin.rt_register_selectors, fakes_plugin.rt_register_stages

    @fakes_plugin.hookimpl
    def both(register):
        selectors(register)
        register("first-axis", "tests.test_vectors:FirstAxis")
        register("answers", "tests.test_vectors:Answers")

    @fakes_plugin.hookimpl
    def one_more(register):
        stages(register)
        register("one-by-one", "tests.test_vectors:OneByOne")

    monkeypatch.setattr(fakes_plugin, "rt_register_selectors", both)
    monkeypatch.setattr(fakes_plugin, "rt_register_stages", one_more)
    READ.clear()


def mean(*texts: str) -> list[float]:
    """The mean of the fake student's vectors over the words of all texts."""
    words = [word for text in texts for word in _words(text)]
    return [sum(part) / len(words) for part in zip(*map(_direction, words), strict=True)]


def host() -> Host:
    """Finds the parts of the tests."""
    return Host(modules=["tests.fakes_plugin"], only=[], strict=True)


def test_a_selector_reads_the_vector_of_each_sample(tmp_path):
    """The mean over the target's tokens, in float32; the first token has nothing before it and is no target."""
    go(job(tmp_path, rows(6), SELECT, teacher=None), tmp_path / "run")
    expected = [mean(f"{line['instruction']}{line['input']}".split(" ", 1)[1]) for line in rows(6)]
    assert [list(vector) for vector in READ] == [pytest.approx(vector, abs=1e-6) for vector in expected]
    kept = [line["row"] for line in side(tmp_path / "run") if line["outcome"] == "original"]
    assert kept == [number for number, vector in enumerate(expected) if vector[0] > 0]


def test_a_vector_is_computed_once(tmp_path):
    """Equal texts share it, and a run that is repeated finds all of them, to the last digit."""
    config = job(tmp_path, [*rows(5), *rows(3)], SELECT, teacher=None)
    student = Counting()
    go(config, tmp_path / "run", student=student)
    before = list(READ)
    assert sum(student.embedded) == 5
    again = Counting()
    go(config, tmp_path / "run", student=again)
    assert (again.embedded, READ) == ([], before)
    assert student.forward_passes == 0


def test_another_student_has_other_vectors(tmp_path):
    """Their keys hold its fingerprint, as those of losses do; so do those of another text."""
    go(job(tmp_path, rows(3), SELECT, teacher=None), tmp_path / "run")
    student = Counting()
    go(job(tmp_path, rows(3), [{"select": "answers"}], teacher=None), tmp_path / "run", student=student)
    assert sum(student.embedded) == 3


def test_a_conversation_has_the_mean_over_all_its_turns(tmp_path):
    """Each token weighs the same, whichever trained turn it is in; the last turn alone is trained by default."""
    talk = [("Hello there.", "Hello."), ("What floats on water?", "A cork and a boat, among others.")]
    messages = [
        {"role": role, "content": text} for turn in talk for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    data = [{"messages": messages}]
    config = job(tmp_path, data, [{"select": "answers"}], teacher=None)
    go(evolve(config, data=evolve(config.data, trained="all")), tmp_path / "run")
    (vector,) = READ
    assert list(vector) == pytest.approx(mean(*(answer for _, answer in talk)), abs=1e-6)
    READ.clear()
    go(config, tmp_path / "last")
    (vector,) = READ
    assert list(vector) == pytest.approx(mean(talk[-1][1]), abs=1e-6)


def test_a_text_without_a_vector_has_none(tmp_path):
    """An empty answer, and one that does not fit the device: the others have theirs, from smaller batches."""
    data = [*rows(7), {"instruction": "Name a river.", "input": "", "output": ""}]
    data[3]["instruction"] = "river " * 60
    student = Small()
    go(job(tmp_path, data, SELECT, teacher=None), tmp_path / "run", student=student)
    assert [place for place, vector in enumerate(READ) if vector is None] == [3, 7]
    assert sum(student.embedded) == 6


@pytest.mark.timeout(120)
def test_other_processes_embed_too(tmp_path):
    """To the same vectors."""
    go(job(tmp_path, rows(6), SELECT, teacher=None), tmp_path / "here")
    before = list(READ)
    spread = {"preset": "selective-rt", "executor": {"processes": {"workers": 2}}, "batch_tokens": 20}
    go(job(tmp_path, rows(6), SELECT, teacher=None, scoring=spread), tmp_path / "there")
    assert before == READ


@pytest.mark.parametrize(
    "change",
    [lambda vectors: vectors[1:], lambda vectors: [[], *vectors[1:]], lambda vectors: [vectors[0][:3], *vectors[1:]]],
)
def test_a_student_that_gives_something_else_ends_the_run(change, tmp_path):
    """A vector must not be taken for that of another text."""
    with pytest.raises(PluginError, match=r"the student gave . vectors of lengths .* for 3 sequences"):
        go(job(tmp_path, rows(3), SELECT, teacher=None), tmp_path / "run", student=Wrong(change))


def test_a_vector_that_is_not_finite_is_none(tmp_path):
    """And is not kept."""
    student = Wrong(lambda vectors: [[float("nan")] * 8, *vectors[1:]])
    go(job(tmp_path, rows(3), SELECT, teacher=None), tmp_path / "run", student=student)
    assert [vector is None for vector in READ].count(True) == 1


# --- refusals -----------------------------------------------------------------------------------


def test_a_selector_of_vectors_needs_a_student_that_gives_them(tmp_path):
    """In one line, before anything is asked; without a student the quote says so too."""
    config = job(tmp_path, rows(3), SELECT, teacher=None, student=None)
    for ask in (lambda: go(config, tmp_path / "run"), lambda: quote(host(), config, tmp_path / "run")):
        with pytest.raises(
            ConfigError, match=r"stage '1\. select first-axis' reads vectors of the student, but the config"
        ):
            ask()
    pipeline = [{"reflect": "response"}, *SELECT]
    with pytest.raises(
        ConfigError, match=r"stage '2\. select first-axis' reads vectors of the student, but its plugin"
    ):
        go(job(tmp_path, rows(3), pipeline), tmp_path / "run", student=Blind())


def test_a_stage_for_single_samples_gets_no_vectors(tmp_path):
    """It is refused, since it would find none."""
    with pytest.raises(
        PluginError, match=r"stage '1\. one-by-one' reads vectors \('embeds'\), which only a stage over the"
    ):
        go(job(tmp_path, rows(3), ["one-by-one"], teacher=None), tmp_path / "run")


def test_rt_select_has_no_student(tmp_path, rt_source):
    """So it refuses such a selector, and writes nothing."""
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps({"id": str(n), "metrics": {}}) + "\n" for n in range(3)))
    with pytest.raises(ConfigError, match="selector 'first-axis' reads vectors of a student, and this command"):
        select_file(host(), rt_source, tmp_path / "scores.jsonl", spec("first-axis"), tmp_path / "out.jsonl", None)
    assert not (tmp_path / "out.jsonl").exists()


def spec(name):
    """The part of that name."""
    from rt_framework.kit.parts import Spec

    return Spec(name)


@pytest.fixture
def rt_source(tmp_path):
    """Three rows, as a command opens them."""
    from rt_framework.config import Data
    from rt_framework.data import open_source

    (tmp_path / "data.json").write_text(json.dumps(rows(3)))
    return open_source(host(), Data(str(tmp_path / "data.json")))


# --- the model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "phi3-longrope"])
def test_the_vector_is_the_mean_of_the_models_own_states(kind, tmp_path, monkeypatch):
    """A vector comes from the last layer, after its norm, of each sequence as if it were alone."""
    import torch

    from rt_framework.builtin.students.hf import HFStudent
    from rt_framework.builtin.students.settings import HFSettings
    from tests import tiny_models as tiny

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tiny.FAMILIES[kind]()
    student = HFStudent(HFSettings(tiny.save(tmp_path / "model", model, tiny.tokenizer()), device="cpu"))
    batch = tiny.sequences(count=8)
    for span, vector in zip(batch, student.embed(batch), strict=True):
        with torch.no_grad():
            output = model(torch.tensor([span.ids]), output_hidden_states=True)
        expected = output.hidden_states[-1][0, span.start :].mean(0)
        assert list(vector) == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


def test_the_states_fit_the_text(tmp_path, monkeypatch):
    """The student's own encoding says what the target is."""
    from rt_framework.builtin.students.hf import HFStudent
    from rt_framework.builtin.students.settings import HFSettings
    from tests import tiny_models as tiny

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    student = HFStudent(HFSettings(tiny.save(tmp_path / "model", tiny.llama(), tiny.tokenizer()), device="cpu"))
    spans = student.encode([Span("Say: ", "a cork"), Span("Say: ", "a boat")])
    first, second = student.embed(spans)
    assert len(first) == len(second) == 32
    assert list(first) != list(second)
    assert asyncio.run(_again(student, spans)) == [first, second]


async def _again(student, spans):
    return await asyncio.to_thread(student.embed, spans)
