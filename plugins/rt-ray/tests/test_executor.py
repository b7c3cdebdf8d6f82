"""Work on a cluster is what work in this process is: results, errors, and workers that end."""

from __future__ import annotations

import asyncio
import os

import pytest
import ray_parts

from rt_framework import OutOfMemory
from rt_framework.errors import ConfigError, ModelError, PluginError, RtError
from rt_framework.spans import Span
from rt_framework.testing import FakeStudent
from rt_ray.executor import RayExecutor
from rt_ray.settings import RaySettings

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def two():
    """Two workers with a student that needs no model."""
    executor = RayExecutor(RaySettings(workers=2))
    executor.start(FakeStudent)
    yield executor
    executor.close()


def losses(student):
    spans = student.encode([Span(f"Question {number}: ", "An answer of some words.") for number in range(20)])
    return student.score(spans)


async def test_the_same_losses_as_here(two):
    """To the last digit."""
    assert await two.run(losses) == losses(FakeStudent())


async def test_two_work_at_the_same_time(two):
    """Each in a process of its own, neither of them this one."""
    assert len({*await asyncio.gather(*(two.run(ray_parts.pid) for _ in range(2))), os.getpid()}) == 3
    assert two.workers == 2


async def test_errors_come_through_as_they_are(two):
    """Core halves a batch on the framework's own; one that cannot be sent is told in words. Workers live on."""
    with pytest.raises(OutOfMemory, match="2 sequences"):
        await two.run(ray_parts.too_large)
    with pytest.raises(PluginError, match="Odd: odd"):
        await two.run(ray_parts.odd)
    assert await two.run(ray_parts.fingerprint) == "fake-student-1"
    assert two.deaths == 0


async def test_work_that_ends_its_workers_ends_the_run(two):
    """In one line with the way out; the workers are replaced."""
    with pytest.raises(RtError, match=r"4 workers ended over the same batch.*scoring.batch_tokens"):
        await two.run(ray_parts.die)
    assert two.deaths == 4
    assert await two.run(ray_parts.fingerprint) == "fake-student-1"


async def test_a_student_that_is_another_one_there_is_refused(two):
    """Its losses would be kept under a name that is not theirs."""
    executor = RayExecutor(RaySettings(workers=1))
    executor.start(ray_parts.OtherStudent)
    with pytest.raises(ModelError, match="is not that of the driver"):
        await executor.run(ray_parts.fingerprint)
    executor.close()


def test_a_student_that_cannot_be_sent_says_so():
    """Before anything is joined."""
    with pytest.raises(PluginError, match="cannot be sent to a cluster"):
        RayExecutor(RaySettings()).start(lambda: FakeStudent())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RaySettings(workers=3), "3 workers of 1 CPU each, but the cluster has 2 CPU"),
        (RaySettings(workers=1, gpus=1), "1 workers of 1 GPU each, but the cluster has 0 GPU"),
    ],
)
async def test_workers_that_do_not_fit_are_refused(settings, message):
    """Ray would wait for ever."""
    executor = RayExecutor(settings)
    executor.start(FakeStudent)
    with pytest.raises(ConfigError, match=message):
        await executor.run(ray_parts.fingerprint)
    executor.close()


async def test_a_worker_without_a_place_ends_the_run(two):
    """The cluster has room for two, and they are there: in one line with the way out, and then there is room again."""
    assert await asyncio.gather(*(two.run(ray_parts.pid) for _ in range(2)))
    late = RayExecutor(RaySettings(workers=1, wait=1.0))
    late.start(FakeStudent)
    with pytest.raises(RtError, match=r"no worker got a place within 1 s; the cluster is busy.*`wait`"):
        await late.run(ray_parts.fingerprint)
    late.close()
    assert await two.run(ray_parts.fingerprint) == "fake-student-1"


async def test_one_worker_without_a_place_stops_nobody(cluster):
    """The other worker does all the work."""
    first = RayExecutor(RaySettings(workers=1))
    first.start(FakeStudent)
    assert await first.run(ray_parts.fingerprint)
    both = RayExecutor(RaySettings(workers=2, wait=20))
    both.start(FakeStudent)
    assert len({*await asyncio.gather(*(both.run(ray_parts.pid) for _ in range(4)))}) == 1
    both.close()
    first.close()


async def test_without_a_word_there_is_a_worker_a_machine(cluster):
    """A machine without a GPU."""
    executor = RayExecutor(RaySettings())
    executor.start(FakeStudent)
    assert await executor.run(ray_parts.fingerprint) == "fake-student-1"
    assert executor.workers == 1
    executor.close()
