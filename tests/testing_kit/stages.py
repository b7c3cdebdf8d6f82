"""A good stage of each kind, and broken ones."""

from __future__ import annotations

import random
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rt_framework import Decision, Dropped, Failure, Range, Request, Score, Turn, Unparsed
from rt_framework.kit.fences import token_of
from rt_framework.kit.form import Form, Part, sampling
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


@good(StageContract)
class Topical(Short):
    """Drops a topic that stands in a column of the data."""

    columns = ("topic",)

    async def run(self, sample, ctx):
        return Dropped(sample, "topic 1") if sample.extra["topic"] == "topic 1" else await super().run(sample, ctx)


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


class Mark:
    """A question for a mark, in a form that the kit's teacher can answer."""

    rewrites = ()
    form = Form({"reason": Part("why"), "mark": Part("a mark", range(1, 6))})

    def render(self, pair, index, structured):
        turn = Turn("user", "\n".join([pair.instruction, *self.form.ask(token_of(pair), index, structured)]))
        return Request("mark", pair.hash, index, (turn,), sampling(index), self.form.schema() if structured else None)

    def parse(self, pair, request, reply):
        answer = self.form.read(reply, token_of(pair), request.schema is not None)
        return answer if isinstance(answer, Unparsed) else answer.numbers["mark"]


@good(StageContract)
class Marking(Short):
    reflections = MappingProxyType({"mark": Mark()})
    provides = MappingProxyType({"clarity": Range(at_least=1, at_most=5)})

    async def run(self, sample, ctx):
        mark = await ctx.ask(self.reflections["mark"], sample.current)
        if isinstance(mark, Failure):
            return sample.failing(mark)
        return sample.scoring({sample.current: {"clarity": Score(mark)}})


class Oracle(Mark):
    def parse(self, pair, request, reply):
        return Unparsed("format", "no oracle spoke")


@mutant(StageContract, "test_its_answers_are_read", teacher={"scripted": None})
class Deaf(Marking):
    reflections = MappingProxyType({"mark": Oracle()})


@mutant(StageContract, "test_every_sample_comes_through")
class Scoring(Short):
    """Asks for a score that it does not declare, so that nobody knows that it needs a student."""

    async def run(self, sample, ctx):
        await ctx.score([sample.current], ["ifd"])
        return await super().run(sample, ctx)


@mutant(StageContract, "test_every_sample_comes_through")
class Secretive(Marking):
    """Gives a score that it does not declare."""

    provides = MappingProxyType({})


@mutant(StageContract, "test_every_sample_comes_through")
class Inventive(Short):
    """Notes a failure of a kind that does not exist."""

    async def run(self, sample, ctx):
        found = await super().run(sample, ctx)
        return found if isinstance(found, Dropped) else found.failing(Failure("", "moody", "it did not want to"))


@mutant(StageContract, "test_it_never_blocks")
class Sleepy(Short):
    async def run(self, sample, ctx):
        time.sleep(0.01)  # noqa: ASYNC251 - the fault
        return await super().run(sample, ctx)


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
