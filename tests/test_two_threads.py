"""One model on two threads: a batch is queued while another is waited for, and nothing comes out differently."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rt_framework.builtin.executors.local import LocalExecutor
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.kit.at_work import AT_WORK, lazy_property
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Request, Sampling, Turn
from rt_framework.scoring.losses import Losses
from rt_framework.spans import Span
from rt_framework.testing import FakeStudent
from tests import tiny_models as tiny
from tests.run_helpers import pair

SPANS = [Span(f"{pair(number).instruction} ", pair(number).response, max_tokens=60) for number in range(24)]


class OnTwo(FakeStudent):
    """A student that two threads may use."""

    threads = 2


@pytest.fixture
def student(tmp_path, monkeypatch):
    """A tiny model on the CPU."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return HFStudent(HFSettings(tiny.save(tmp_path / "model", tiny.llama(), tiny.tokenizer()), device="cpu"))


def works(student):
    """Pieces of work of every kind, in turn."""
    spans = student.encode(SPANS)
    request = Request("test", "0", 0, (Turn("user", "Name the colours."),), Sampling(max_tokens=3))
    for first in range(0, len(spans), 3):
        batch = spans[first : first + 3]
        yield lambda s, batch=batch: s.score(batch)
        yield lambda s, batch=batch: [list(vector) for vector in s.embed(batch)]
        yield lambda s, first=first: s.encode(SPANS[first : first + 3])
        yield lambda s: [reply.text for reply in s.generate([request])]


def test_threads_that_share_a_model_get_what_one_gets(student):
    """Losses, vectors, token ids and answers, mixed: the model attends in its own way for two of them."""
    mixed = list(works(student))
    again = HFStudent(student._settings)
    expected = [work(student) for work in mixed]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda work: work(again), mixed)) == expected
        assert again._loaded is student._loaded


@pytest.mark.parametrize(("make", "threads"), [(FakeStudent, 1), (OnTwo, 2)])
async def test_a_student_has_as_many_threads_as_it_allows(make, threads):
    """Two pieces of work meet if it allows two, and never do otherwise."""
    executor = LocalExecutor()
    executor.start(make)
    meeting = threading.Barrier(2)

    def meet(_student):
        try:
            meeting.wait(5 if threads > 1 else 0.2)
        except threading.BrokenBarrierError:
            return False
        return True

    try:
        assert await asyncio.gather(executor.run(meet), executor.run(meet)) == [threads > 1] * 2
        assert executor.workers == threads
    finally:
        executor.close()


async def test_losses_by_two_threads_are_those_by_one(tmp_path, student):
    """Through the queue of a run, with many more batches than threads."""
    found = []
    for threads in (1, 2):
        executor = LocalExecutor()
        student_of_threads = type("Threads", (HFStudent,), {"threads": threads})(student._settings)
        executor.start(lambda one=student_of_threads: one)
        ledger = Ledger.writing(tmp_path / f"{threads}.sqlite")
        losses = Losses(student_of_threads, executor, ledger, 40)
        try:
            (by_name,) = await losses.of([{"y|x": SPANS}])
            assert losses.counts().passes > 8
            found.append(by_name["y|x"].parts)
        finally:
            await losses.close()
            executor.close()
            ledger.close()
    assert found[0] == found[1]


def test_only_a_gpu_is_worth_a_second_thread():
    """Two passes at once on a CPU would only compete for its cores."""
    assert [HFStudent(HFSettings("m", device=device)).threads for device in ("cpu", "cuda", "cuda:1")] == [1, 2, 2]


def test_a_property_that_waits_for_a_model_blocks_nobody_who_has_it():
    """One thread works the value out and waits for the lock of models; another has that lock and reads the value."""
    waits, read = threading.Event(), threading.Event()

    class Part:
        @lazy_property
        def model(self) -> int:
            waits.set()
            with AT_WORK:
                return 1

    first, second = Part(), Part()

    def reads() -> None:
        with AT_WORK:
            threading.Thread(target=lambda: first.model, daemon=True).start()
            assert waits.wait(10)
            assert first.model + second.model == 2
        read.set()

    threading.Thread(target=reads, daemon=True).start()
    assert read.wait(10)
