"""Several processes score as one does, and the end of one loses nothing that was committed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from functools import partial

import pytest

from rt_framework.builtin.executors.processes import ProcessesExecutor
from rt_framework.builtin.executors.settings import ProcessesSettings
from rt_framework.errors import ConfigError, OutOfMemory, PluginError, RtError
from rt_framework.ledger.ledger import Ledger
from rt_framework.scoring.losses import Losses
from rt_framework.spans import Span
from rt_framework.testing import FakeStudent
from tests.run_helpers import as_it_is, pair

pytestmark = pytest.mark.timeout(120)

SPANS = [Span(f"{pair(number).instruction} ", pair(number).response, max_tokens=60) for number in range(12)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def two():
    """Two processes with a student that needs no model."""
    executor = ProcessesExecutor(ProcessesSettings(workers=2))
    executor.start(FakeStudent)
    yield executor
    executor.close()


async def losses_of(student, path, executor, **options):
    """The losses of all spans by a student under an executor."""
    ledger = Ledger.writing(path)
    losses = Losses(student, executor, ledger, options.get("batch_tokens", 64))
    try:
        (by_name,) = await losses.of([{"y|x": SPANS}])
        return by_name["y|x"].parts
    finally:
        await losses.close()
        ledger.close()


async def test_two_processes_give_what_one_gives(tmp_path, two):
    """With more batches than workers."""
    from rt_framework.builtin.executors.local import LocalExecutor

    alone = LocalExecutor()
    alone.start(FakeStudent)
    expected = await losses_of(FakeStudent(), tmp_path / "one.sqlite", alone)
    alone.close()
    assert await losses_of(FakeStudent(), tmp_path / "two.sqlite", two) == expected
    assert all(loss.nll is not None for loss in expected)


async def test_a_real_student_crosses_to_its_processes(tmp_path):
    """As it is configured; each loads its model there."""
    # Here, because the processes of the other tests import this module: torch would cost each of them seconds.
    from rt_framework.builtin.students.hf import HFStudent
    from rt_framework.builtin.students.settings import HFSettings
    from tests import tiny_models as tiny

    student = HFStudent(HFSettings(tiny.save(tmp_path / "model", tiny.llama(), tiny.tokenizer()), device="cpu"))
    executor = ProcessesExecutor(ProcessesSettings(workers=2))
    executor.start(student_again := partial(as_it_is, student))
    try:
        found = await losses_of(student, tmp_path / "two.sqlite", executor)
    finally:
        executor.close()
    assert isinstance(student_again(), HFStudent)
    expected = student.score(student.encode(SPANS))
    assert [loss.nll for loss in found] == pytest.approx([loss.nll for loss in expected], abs=1e-4)


async def test_each_process_is_another_one(two):
    """Both work at the same time."""
    seen = await asyncio.gather(*(two.run(_pid_slowly) for _ in range(2)))
    assert len({*seen, os.getpid()}) == 3
    assert two.workers == 2


def _pid_slowly(student):
    threading.Event().wait(1.0)
    return os.getpid()


def _too_large(student):
    raise OutOfMemory("2 sequences")


def _die(student):
    os.kill(os.getpid(), signal.SIGKILL)


async def test_errors_come_through(two):
    """Core halves a batch on the student's own exception."""
    with pytest.raises(OutOfMemory, match="2 sequences"):
        await two.run(_too_large)


async def test_a_process_that_ends_is_one_line(two):
    """The way out is to run again: what was committed is known."""
    with pytest.raises(RtError, match=r"a worker process ended unexpectedly.*run again"):
        await two.run(_die)


def test_a_student_that_cannot_be_sent_says_so():
    """Before anything has started."""
    with pytest.raises(PluginError, match="cannot be sent to another process"):
        ProcessesExecutor(ProcessesSettings()).start(lambda: FakeStudent())


async def test_more_workers_than_gpus_are_refused(monkeypatch):
    """Two models on one GPU only take its memory from each other."""
    executor = ProcessesExecutor(ProcessesSettings(workers=3))
    executor.start(FakeStudent)
    monkeypatch.setattr(ProcessesExecutor, "_devices", ["0", "1"])
    with pytest.raises(ConfigError, match="3 workers, but 2 GPUs are visible"):
        await executor.run(_pid_slowly)


def test_each_gpu_is_seen_by_one_process(monkeypatch):
    """By the names that the environment gives them."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    executor = ProcessesExecutor(ProcessesSettings())
    assert (executor.workers, executor._devices) == (2, ["4", "6"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert ProcessesExecutor(ProcessesSettings())._devices == ["0", "1"]
