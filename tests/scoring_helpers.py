"""The student's chain with a fake student, as several test modules call it."""

from __future__ import annotations

from contextlib import asynccontextmanager

from rt_framework.builtin.executors.local import LocalExecutor
from rt_framework.config.builder import Builder
from rt_framework.plugin.host import Host
from rt_framework.scoring.losses import Losses
from rt_framework.scoring.presets import preset
from rt_framework.scoring.scores import Scoring
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.testing import FakeStudent
from tests.run_helpers import pair

PAIRS = [pair(number) for number in range(20)]
BOTH = ("ifd", "r-ifd")


@asynccontextmanager
async def scoring(ledger, student=None, preset_name="selective-rt", metrics=None, batch_tokens=2048, range_binds=False):
    """The chain with a student on a thread, freed at the end."""
    student = student or FakeStudent()
    make = Builder(Host(only=[]))
    chosen = preset(preset_name)
    executor = LocalExecutor()
    executor.start(lambda: student)
    losses = Losses(student, executor, ledger, batch_tokens)
    chain = Scoring(
        metrics=lambda name: (metrics or {}).get(name) or make("metrics", name),
        frame=PresetSpans(chosen, make("templates", chosen.template), chosen.limit(chosen.template)),
        losses={"": losses},
        range_binds=range_binds,
    )
    try:
        yield chain
    finally:
        await losses.close()
        executor.close()


async def scores(ledger, pairs, names=("ifd",), **options):
    async with scoring(ledger, **options) as chain:
        return await chain.score(pairs, names)
