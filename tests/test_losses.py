"""Losses are asked for by pair and name and come back in that shape, each computed once and each committed once."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from rt_framework.builtin.executors.local import LocalExecutor
from rt_framework.errors import DiskError
from rt_framework.ledger.losses import LossTable
from rt_framework.scoring.losses import Losses
from rt_framework.spans import Span, SpanLoss
from rt_framework.testing import FakeStudent

SHORT = Span("Name two things. ", "A cork and a leaf.")
LONG = Span("Name two things, and say why they float. ", "A cork and a leaf, which are lighter than water is.")


@asynccontextmanager
async def losses_of(ledger, student, batch_tokens=2048):
    """The losses of one student, looked up or computed."""
    executor = LocalExecutor()
    executor.start(lambda: student)
    losses = Losses(student, executor, ledger, batch_tokens)
    yield losses
    await losses.close()
    executor.close()


async def test_losses_come_back_in_the_shape_of_the_spans(ledger):
    """Pairs in order, names within them, turns within those; equal spans anywhere are one sequence."""
    student = FakeStudent()
    short, long = FakeStudent().score(FakeStudent().encode([SHORT, LONG]))
    async with losses_of(ledger, student) as losses:
        found = await losses.of([{"y": [SHORT, LONG], "x": [LONG]}, {}, {"y": [LONG, SHORT]}])
    parts = [{name: loss.parts for name, loss in by_name.items()} for by_name in found]
    assert parts == [{"y": (short, long), "x": (long,)}, {}, {"y": (long, short)}]
    assert found[0]["y"].nll == pytest.approx(short.nll + long.nll)
    assert student.forward_spans == 2


async def test_losses_are_known_when_every_one_is_in_the_ledger(ledger):
    """A pair of which one loss is missing has none, so that no metric is fitted to a part of it."""
    student = FakeStudent()
    async with losses_of(ledger, student) as losses:
        (computed,) = await losses.of([{"y": [SHORT]}])
        assert losses.known({"y": [SHORT]}) == computed
        assert losses.known({"y": [SHORT], "x": [LONG]}) is None
        assert losses.known({"y": [evolve(SHORT, by_token=True)]}) is None
        assert losses.known({}) == {}
        assert student.forward_spans == 1


async def test_a_span_counts_as_reused_each_time_it_is_asked_for(ledger):
    """The count on the screen is of spans that need no forward pass, whether or not they are equal."""
    async with losses_of(ledger, FakeStudent()) as losses:
        await losses.of([{"y": [SHORT]}])
        assert losses.counts().reused == 0
        await losses.of([{"y": [SHORT, LONG]}, {"x": [SHORT]}])
        assert (losses.counts().reused, losses.counts().passes) == (2, 2)


async def test_a_request_is_completed_before_the_rest_of_its_wave(ledger):
    """The sample that has its losses goes on, to the teacher for example, while other batches are computed."""

    class Waiting(FakeStudent):
        """Computes the second batch only when the first request has its losses."""

        completed = threading.Event()
        in_time = None

        def score(self, batch):
            if self.forward_passes == 1:
                self.in_time = self.completed.wait(10)
            return super().score(batch)

    student = Waiting()
    async with losses_of(ledger, student, batch_tokens=1) as losses:
        first, second = (asyncio.create_task(losses.of([{"y": [span]}])) for span in (LONG, SHORT))
        await first
        student.completed.set()
        await second
    assert student.in_time is True


@pytest.mark.parametrize("by_token", [False, True])
async def test_one_that_asks_for_tokens_serves_one_that_does_not(by_token, ledger):
    """Both are asked for in one wave, in either order, and computed once."""
    student = FakeStudent()
    spans = [evolve(SHORT, by_token=by_token), evolve(SHORT, by_token=not by_token)]
    async with losses_of(ledger, student) as losses:
        found = await asyncio.gather(*(losses.of([{"y": [span]}]) for span in spans))
    assert [by_name["y"].has_tokens for (by_name,) in found] == [True, True]
    assert student.forward_spans == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
async def test_no_loss_is_committed_with_nan_wherever_it_comes_from(value, ledger):
    """A student may give it when it encodes as well; from the ledger it would come back as a loss without a reason."""

    class Refusing(FakeStudent):
        def encode(self, spans):
            return [SpanLoss(value, 3) for _ in spans]

    expected = SpanLoss(None, 3, "nonfinite", f"the student's loss is {value}")
    for _ in range(2):
        async with losses_of(ledger, Refusing()) as losses:
            (by_name,) = await losses.of([{"y": [SHORT]}])
        assert by_name["y"].parts == (expected,)


async def test_a_lack_of_memory_is_not_remembered(ledger):
    """Neither of a forward pass nor of the encoding: the next run may have a larger device."""

    class Full(FakeStudent):
        def encode(self, spans):
            return [SpanLoss(None, 0, "oom", "no room") for _ in spans]

    async with losses_of(ledger, Full()) as losses:
        (by_name,) = await losses.of([{"y": [SHORT]}])
        assert by_name["y"].status == "oom"
        assert losses.known({"y": [SHORT]}) is None


# --- two waves at once ------------------------------------------------------------------------


class Logged(FakeStudent):
    """It writes down what it does, and fails at the passes that it is told to fail at."""

    def __init__(self, failing=()):
        super().__init__()
        self.log = []
        self.failing = failing

    def encode(self, spans):
        self.log.append("encode")
        return super().encode(spans)

    def score(self, batch):
        self.log.append("score")
        if self.log.count("score") in self.failing:
            raise ValueError("no")
        return super().score(batch)


def wave(first, count=8):
    return [{"y": [Span("Say a number. ", f"It is {number} and no other.")]} for number in range(first, first + count)]


@pytest.fixture
def small_waves(monkeypatch):
    """A wave is full with eight spans."""
    monkeypatch.setattr("rt_framework.scoring.forward._WAVE", 8)


async def test_the_next_wave_is_encoded_while_this_one_is_computed(ledger, small_waves):
    """If it is full. One that is not gathers until the waves before it are done, so that its batches are fuller."""
    student = Logged()
    async with losses_of(ledger, student, batch_tokens=1) as losses:
        three = [losses.of(wave(0)), losses.of(wave(8)), losses.of(wave(16, 2))]
        found = await asyncio.gather(*three)
    assert [len(one) for one in found] == [8, 8, 2]
    assert student.log == ["encode"] * 2 + ["score"] * 16 + ["encode"] + ["score"] * 2


async def test_waves_at_once_compute_equal_spans_once(ledger, small_waves):
    """The later wave waits for the earlier one's, and computes itself what that one failed at."""
    student = Logged()
    async with losses_of(ledger, student, batch_tokens=1) as losses:
        one, other = await asyncio.gather(losses.of(wave(0)), losses.of(wave(3)))
    assert one[3:] == other[:5]
    assert student.forward_spans == 11


async def test_a_wave_that_fails_fails_no_other(ledger, small_waves):
    """The later wave computes itself what it wanted of the other one."""
    student = Logged(failing=[1])
    async with losses_of(ledger, student, batch_tokens=1) as losses:
        one, other = await asyncio.gather(losses.of(wave(0)), losses.of(wave(0)), return_exceptions=True)
    assert isinstance(one, ValueError)
    assert len(other) == 8


async def test_batches_that_fail_at_the_same_moment_are_one_error(ledger, monkeypatch, unnoticed):
    """As when the disk fills up: none of the others is printed later as an error that nothing awaited."""
    arrived, full = [], asyncio.Event()

    async def put(_table, losses):
        if not losses:
            return
        arrived.append(losses)
        if len(arrived) == 1:
            await full.wait()
        full.set()
        raise DiskError("the disk is full")

    monkeypatch.setattr(LossTable, "put", put)
    async with losses_of(ledger, FakeStudent(), batch_tokens=1) as losses:
        with pytest.raises(DiskError, match="the disk is full"):
            await losses.of(wave(0))
    gc.collect()
    assert not unnoticed
