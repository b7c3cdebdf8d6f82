"""Two stages: one takes each sample by itself, one needs them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType

from attrs import frozen

from rt_framework import Dropped, Sample, hookimpl
from rt_framework.hookspecs import Register
from rt_framework.protocols import Make, Reflection, StageContext

_NONE: Mapping[str, Reflection] = MappingProxyType({})


@frozen
class AtMostSettings:
    """Options of ``at-most``."""

    characters: int
    """Longest response that is kept."""


class AtMost:
    """Drops samples whose current response is too long."""

    needs: Sequence[str] = ()
    reflections = _NONE

    def __init__(self, settings: AtMostSettings, make: Make) -> None:
        self._most = settings.characters

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """The reason has the same words for every such sample, so that the report can count them."""
        if len(sample.current.pair.response) <= self._most:
            return sample
        return Dropped(sample, f"response longer than {self._most} characters")


class Distinct:
    """A barrier that drops samples whose current instruction and input equal those of an earlier row."""

    needs: Sequence[str] = ()
    reflections = _NONE

    def __init__(self, make: Make) -> None:
        """Accept ``make``, the only argument of a stage without settings."""

    async def run_all(self, samples: Sequence[Sample], ctx: StageContext) -> Iterable[Sample | Dropped]:
        """Return one outcome for each sample, in the order given."""
        return self._outcomes(samples)

    def _outcomes(self, samples: Sequence[Sample]) -> Iterator[Sample | Dropped]:
        """A generator, so that no sample has to stay in memory; only a hash of each question is kept."""
        seen: set[str] = set()
        for sample in samples:
            question = sha256(sample.current.pair.question.encode("utf-8", "surrogatepass")).hexdigest()
            yield Dropped(sample, "question asked before") if question in seen else sample
            seen.add(question)


@hookimpl
def rt_register_stages(register: Register) -> None:
    """Offer both."""
    register("at-most", "stage:AtMost", help="drop long responses", settings=AtMostSettings)
    register("distinct", "stage:Distinct", help="drop repeated questions")
