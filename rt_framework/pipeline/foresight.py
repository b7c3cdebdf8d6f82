"""How far a sample's way through the pipeline is certain: as far as every answer and score on it is in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeVar

from attrs import frozen

from rt_framework.errors import TeacherError
from rt_framework.ledger import Ledger
from rt_framework.model import Dropped, Failure, Reply, Request, Sample, Score, Version
from rt_framework.pipeline.steps import Step
from rt_framework.protocols import Question, Reflection, Teacher
from rt_framework.teacher import Answer, TeacherClient, call_key

T = TypeVar("T")


@frozen
class Known:
    """What the ledger holds of a run's answers."""

    ledger: Ledger | None
    """Where they are; ``None`` before the first run."""
    teacher: Teacher
    held: frozenset[str]
    """Keys of the calls that are not asked again, since a killed run may have paid for them."""

    def key(self, request: Request) -> str:
        """The ledger's key of a question."""
        return call_key(self.teacher.identity, request)

    def reply(self, key: str) -> Reply | None:
        """The answer to a question, if it is there."""
        return None if self.ledger is None else self.ledger.reply(key)


@frozen
class Asked:
    """A question that has its answer, or that a run would not send."""

    request: Request
    key: str
    answered: bool


@frozen
class Way:
    """The certain part of a sample's way."""

    sample: Sample | None
    """The sample behind it; ``None`` where this was its end."""
    steps: int
    """Stages that it takes in full."""
    asked: tuple[Asked, ...]
    """Questions on it, none of which would be sent."""
    broken: bool = False
    """Whether it ends in an exception of a plugin."""


class _Uncertain(BaseException):
    """Something on the way is not known. No ``Exception``, so that no stage takes it for a failure of its own."""


class _FromLedger:
    """The :class:`rt_framework.protocols.StageContext` of a stage for which nothing is asked and nothing computed."""

    def __init__(self, known: Known, answers: int, scores: Mapping[str, Mapping[str, Score]], exhaustive: bool) -> None:
        self.asked: list[Asked] = []
        self.certain = True
        self.exhaustive = exhaustive
        self._known = known
        self._scores = scores
        self._teaching = TeacherClient(self, known.teacher.structured, answers)

    async def answer(self, request: Request, first: bool, stage: str = "") -> Answer:  # noqa: ARG002 - as those who pay
        """What the ledger has."""
        key = self._known.key(request)
        reply = self._known.reply(key)
        if reply is None and key not in self._known.held:
            self._give_up()
        self.asked.append(Asked(request, key, reply is not None))
        return Answer(key, reply, None if reply else TeacherError("interrupted_unknown", "held back"))

    async def reflect(self, name: str, reflection: Reflection, version: Version) -> Version | Failure:
        """See the protocol."""
        return await self._teaching.reflect(name, reflection, version, "")

    async def ask(self, question: Question[T], version: Version) -> T | Failure:
        """See the protocol."""
        return await self._teaching.ask(question, version, "")

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """See the protocol."""
        try:
            return [{metric: self._scores[version.pair.hash][metric] for metric in metrics} for version in versions]
        except KeyError:
            self._give_up()

    def _give_up(self) -> NoReturn:
        self.certain = False
        raise _Uncertain


class Foresight:
    """Takes samples as far as the ledger allows, by the stages' own code.

    A stage decides from texts and scores alone, so it decides again as it did. Only a sample that has been to the end
    of its way before is taken on it: the stages have seen it, and its scores are recorded.

    Args:
        known: the answers there are.
        steps: the pipeline.
        answers: most answers asked for one rewrite.
        exhaustive: whether every version is asked about.
    """

    def __init__(self, known: Known, steps: Sequence[Step], answers: int, exhaustive: bool) -> None:
        self._known = known
        self._steps = tuple(steps)
        self._answers = answers
        self._exhaustive = exhaustive
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Free the event loop in which stages run."""
        self._loop.close()

    def of(self, sample: Sample) -> Way:
        """The certain part of a sample's way, from its beginning."""
        story = None if self._known.ledger is None else self._known.ledger.story(sample.id)
        if story is None or _in_a_loop():
            return Way(sample, 0, ())
        found = {version.pair.hash: story.sample.scores.get(version.name, {}) for version in story.sample.versions}
        return self._loop.run_until_complete(self._go(sample, found))

    async def _go(self, sample: Sample, scores: Mapping[str, Mapping[str, Score]]) -> Way:
        asked: tuple[Asked, ...] = ()
        for number, step in enumerate(self._steps):
            so_far = Way(sample, number, asked)
            if step.barrier:  # it decides on all samples together
                return so_far
            ctx = _FromLedger(self._known, self._answers, scores, self._exhaustive)
            try:
                outcome = await step.stage.run(sample, ctx)  # type: ignore[union-attr]
            except (_Uncertain, Exception):
                return Way(None, number, asked, broken=True) if ctx.certain else so_far
            if not ctx.certain:
                return so_far
            asked += tuple(ctx.asked)
            if isinstance(outcome, Dropped):
                return Way(None, number, asked)
            sample = outcome
        return Way(None, len(self._steps), asked)


def _in_a_loop() -> bool:
    """Whether an event loop already runs here, as in a notebook: then nothing can be run in another one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
