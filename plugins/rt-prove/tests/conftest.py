"""The command line in the process of a test, in an empty folder, with a small model or with none."""

from __future__ import annotations

import prove_parts
import pytest
from prove_parts import BEST, SELECTIVE, SMALL, FakeTraining, held_out, rows, save_model

from rt_framework.cli.options import Host
from rt_framework.results import open_run


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes of models are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a small random model."""
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def host():
    """The plugins: built-in ones and the fakes."""
    return Host(only=(), modules=["rt_framework.testing.parts", "prove_parts"])


@pytest.fixture
def finished(rt_project, host):
    """Runs rows through stages in ``runs/rt``, and opens the run."""
    opened = []

    def make(*stages, count=20):
        rt_project.run(list(stages or (*SELECTIVE, BEST)), rows=rows(count))
        rt_project.write("held.json", held_out())
        opened.append(open_run(rt_project.folder / "runs" / "rt", host))
        return opened[-1].__enter__()

    yield make
    for one in opened:
        one.__exit__(None, None, None)


@pytest.fixture
def fake(monkeypatch):
    """Puts a fake in the place of training, scoring and answering."""

    def put(*arguments, **options):
        training = FakeTraining(*arguments, **options)
        monkeypatch.setattr("rt_prove.units.train", training.train)
        monkeypatch.setattr("rt_prove.units.held_out_losses", training.losses)
        monkeypatch.setattr("rt_prove.units.held_out_answers", training.answers)
        return training

    return put


@pytest.fixture
def prove(rt_project, model):
    """Calls ``rt prove runs/rt`` with the small model and the held-out set."""

    def call(*arguments, held="plain=held.json"):
        command = ("prove", "runs/rt", "--model", model, "--held-out", held, *arguments)
        return rt_project.rt(*command, plugins=("prove_parts",))

    return call


@pytest.fixture
def judge(prove, monkeypatch):
    """Calls ``rt prove`` with a judge: two seeds of three arms, two learning rates, and four prompts to answer."""

    def call(teacher, *arguments, generate=4):
        monkeypatch.setattr(prove_parts, "HELD", [teacher])
        return prove(*SMALL, "--generate", generate, "--judge", "held", *arguments)

    return call
