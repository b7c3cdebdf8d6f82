"""A good stage of each kind, and broken ones."""

from __future__ import annotations

import random
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rt_framework import Decision, Dropped
from rt_framework.testing.contracts import StageContract
from tests.testing_kit.making import good, mutant


@good(StageContract)
class Short:
    needs: Any = ()
    reflections: Any = MappingProxyType({})

    def __init__(self, make):
        """A stage without settings gets ``make`` alone."""

    async def run(self, sample, ctx):
        if len(sample.current.pair.response) > 25:
            return Dropped(sample, "long")
        return sample.deciding(Decision("short", (sample.kept,), sample.kept, "short enough"))


@good(StageContract)
class Every:
    needs = ("ifd",)
    reflections: Any = MappingProxyType({})

    def __init__(self, make):
        """As above."""

    async def run_all(self, samples, ctx):
        return (sample if sample.row % 3 else Dropped(sample, "third row") for sample in samples)


@mutant(StageContract, "test_it_says_what_it_needs")
class OneText(Short):
    needs = ""


@mutant(StageContract, "test_every_sample_comes_through")
class Choking(Short):
    async def run(self, sample, ctx):
        return await super().run(sample, ctx) if sample.original.pair.response else sample.version("no such version")


@mutant(StageContract, "test_every_sample_comes_through")
class Wordless(Short):
    async def run(self, sample, ctx):
        found = await super().run(sample, ctx)
        return Dropped(sample, "") if isinstance(found, Dropped) else found


@mutant(StageContract, "test_it_repeats")
class Chancy(Short):
    async def run(self, sample, ctx):
        found = await super().run(sample, ctx)
        if isinstance(found, Dropped):
            return found
        return found.deciding(Decision("luck", (found.kept,), found.kept, f"{random.random()}"))


def _ledger():
    """The ledger of this run, which a stage is not given: the file that the process has open."""
    return next(path for fd in Path("/proc/self/fd").iterdir() if (path := fd.resolve()).name == "ledger.sqlite")


@mutant(StageContract, "test_killed_it_goes_on")
class Remembering(Short):
    """Counts in a file of its own how often it has seen a sample."""

    async def run(self, sample, ctx):
        found = await super().run(sample, ctx)
        file = _ledger().with_name("seen")
        with file.open("a") as seen:
            seen.write(f"{sample.id}\n")
        times = file.read_text().split().count(sample.id)
        if isinstance(found, Dropped):
            return Dropped(sample, f"long, seen {times} times")
        return found
