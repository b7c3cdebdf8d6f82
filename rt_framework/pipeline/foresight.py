"""Prediction of a sample's path through the pipeline, as far as the ledger holds every answer and score on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeVar

from attrs import field, frozen

from rt_framework.config import MAIN
from rt_framework.errors import TeacherError
from rt_framework.ledger import Ledger
from rt_framework.model import Dropped, Failure, Pair, Reply, Request, Sample, Score, Unparsed, Version
from rt_framework.pipeline.steps import Asking, Step
from rt_framework.protocols import Question, Reflection, Teacher
from rt_framework.rundir import Reviews, is_vetoed
from rt_framework.teacher import (
    Answer,
    AskedTeacher,
    TeacherClient,
    call_key,
    clients_of,
    found_elsewhere,
    has_more_room,
)

T = TypeVar("T")


@frozen
class Known:
    """The answers of a run that are already in the ledger."""

    ledger: Ledger | None
    """Ledger with the answers; ``None`` before the first run."""
    teachers: Mapping[str, Teacher]
    """The teachers that a run asks, by name."""
    on_hold: frozenset[str]
    """Keys of the calls that are not sent again, since a killed run may have paid for them."""
    elsewhere: tuple[Ledger, ...] = ()
    """Ledgers of other run directories, whose answers are used too."""
    fallbacks: Mapping[str, str | None] = field(factory=dict)
    """The fallback of each teacher that has one, by name."""
    reviews: Reviews = field(factory=Reviews)
    """Word of people on rewrites; a run obeys their vetoes."""

    def key(self, request: Request, teacher: str) -> str:
        """Return the key in the ledger of a request to a teacher."""
        return call_key(self.teachers[teacher].identity, request)

    def reply(self, key: str, request: Request, teacher: str) -> Reply | None:
        """Return the answer to a request, by its key, or ``None`` if a run would ask for it."""
        own = None if self.ledger is None else self.ledger.calls.reply(key)
        found = own or found_elsewhere(self.ledger, self.elsewhere, key)
        return None if found is None or has_more_room(self.teachers[teacher], request, found) else found

    def final_failure(self, key: str, teacher: str) -> TeacherError | None:
        """Return the failure of a call to a teacher that a run would take up, and not pay for again; or ``None``."""
        goes_on = self.ledger is not None and self.fallbacks.get(teacher) is not None
        return self.ledger.calls.final_failure(key) if self.ledger is not None and goes_on else None


@frozen
class Asked:
    """A question that is answered already, or that a run would hold back and not send."""

    teacher: str
    key: str
    answered: bool
    """True if it has an answer, or failed for good before its teacher's fallback was asked."""


@frozen
class Way:
    """The certain part of a sample's path through the pipeline."""

    sample: Sample | None
    """The sample after the certain part; ``None`` if its path ends there."""
    steps: int
    """Number of stages that the sample passes in full."""
    asked: tuple[Asked, ...]
    """Questions asked on the certain part, none of which would be sent."""
    broken: bool = False
    """True if the path ends in an exception raised by a plugin."""

    def ahead(self, asks: Sequence[Sequence[tuple[Asking, ...]]]) -> list[tuple[Asking, ...]]:
        """Return the questions after the certain part; a vetoed sample is not asked for further rewrites.

        Args:
            asks: the questions of each stage, in groups.
        """
        ahead = [group for groups in asks[self.steps :] for group in groups]
        if self.sample is None or not is_vetoed(self.sample):
            return ahead
        return [tuple(asking for asking in group if not asking.question.rewrites) for group in ahead]


class _Uncertain(BaseException):
    """A signal that an answer or score on the path is not known.

    It is not an ``Exception``, so that no stage catches it as a failure of its own.
    """


class _FromLedger:
    """A :class:`rt_framework.protocols.StageContext` that only reads the ledger: it sends and computes nothing."""

    def __init__(
        self, known: Known, answers: int, scores: Mapping[Pair, Mapping[str, Score]], exhaustive: bool
    ) -> None:
        self.asked: list[Asked] = []
        self.certain = True
        self.exhaustive = exhaustive
        self._known = known
        self._scores = scores
        self._answers = answers

    def answer(self, request: Request, teacher: str) -> Answer:
        """Return the answer in the ledger; give up if there is none and the call is not on hold."""
        key = self._known.key(request, teacher)
        reply = self._known.reply(key, request, teacher)
        failed = None if reply else self._known.final_failure(key, teacher)
        if reply is None and failed is None and key not in self._known.on_hold:
            self._give_up()
        self.asked.append(Asked(teacher, key, reply is not None or failed is not None))
        return Answer(key, reply, None if reply else failed or TeacherError("interrupted_unknown", "on hold"))

    async def reflect(
        self, name: str, reflection: Reflection, version: Version, draw: int = 0, teacher: str | None = None
    ) -> Version | Failure:
        """Return the rewrite of *version* that the answers in the ledger give."""
        rewritten = await self._client(teacher).reflect(name, reflection, version, "", draw)
        return rewritten if isinstance(rewritten, Failure) else rewritten.version

    async def ask(
        self, question: Question[T], version: Version, draw: int = 0, teacher: str | None = None
    ) -> T | Failure:
        """Return the result that the answers in the ledger give for a question about *version*."""
        return await self._client(teacher).ask(question, version, "", draw)

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the recorded scores of each version, by metric; give up if one is missing."""
        try:
            return [{metric: self._scores[version.pair][metric] for metric in metrics} for version in versions]
        except KeyError:
            self._give_up()

    def _client(self, teacher: str | None) -> TeacherClient:
        asked = {
            name: AskedTeacher(_AnswersOf(self, name), one.structured, self._known.fallbacks.get(name))
            for name, one in self._known.teachers.items()
        }
        return clients_of(asked, self._answers, lambda _, __: _nowhere)[teacher or MAIN]

    def _give_up(self) -> NoReturn:
        self.certain = False
        raise _Uncertain


async def _nowhere(_call: str, _failure: Unparsed) -> None:
    """Note nothing, since a prediction writes nothing."""


@frozen
class _AnswersOf:
    """The answers of one teacher in the ledger, as a source for :class:`rt_framework.teacher.TeacherClient`."""

    ctx: _FromLedger
    teacher: str

    async def answer(self, request: Request, first: bool, stage: str = "") -> Answer:  # noqa: ARG002 - as in ``Answers``
        """Return the answer in the ledger."""
        return self.ctx.answer(request, self.teacher)


class Foresight:
    """The prediction of samples' paths, made by running the stages' own code as far as the ledger has the answers.

    A stage decides from texts and scores alone, so it decides the same again. Only a sample that is recorded in the
    ledger is taken through the stages: they have seen it before, and its scores are recorded.

    Args:
        known: the answers there are.
        steps: the pipeline.
        answers: most answers asked for one rewrite.
        exhaustive: True if every version is reflected on.
    """

    def __init__(self, known: Known, steps: Sequence[Step], answers: int, exhaustive: bool) -> None:
        self._known = known
        self._steps = tuple(steps)
        self._answers = answers
        self._exhaustive = exhaustive
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        """Close the event loop in which stages run."""
        self._loop.close()

    def of(self, sample: Sample) -> Way:
        """Return the certain part of a sample's path, from the first stage on."""
        history = None if self._known.ledger is None else self._known.ledger.samples.history(sample.id)
        if history is None or _in_a_loop():
            return Way(sample, 0, ())
        scores = {version.pair: history.sample.scores.get(version.name, {}) for version in history.sample.versions}
        return self._loop.run_until_complete(self._go(sample, scores))

    async def _go(self, sample: Sample, scores: Mapping[Pair, Mapping[str, Score]]) -> Way:
        questions: tuple[Asked, ...] = ()
        for number, step in enumerate(self._steps):
            so_far = Way(sample, number, questions)
            if step.barrier:  # such a stage decides on all samples together, so one sample alone cannot be predicted
                return so_far
            if step.rewrites and is_vetoed(sample):
                continue
            ctx = _FromLedger(self._known, self._answers, scores, self._exhaustive)
            try:
                outcome = await step.stage.run(sample, ctx)  # type: ignore[union-attr]
            except (_Uncertain, Exception):
                return Way(None, number, questions, broken=True) if ctx.certain else so_far
            if not ctx.certain:  # the stage caught the signal and went on without the answer
                return so_far
            questions += tuple(ctx.asked)
            if isinstance(outcome, Dropped):
                return Way(None, number, questions)
            sample = self._known.reviews.obeyed(outcome)
        return Way(None, len(self._steps), questions)


def _in_a_loop() -> bool:
    """Return whether an event loop runs in this thread, as in a notebook; no second one can run inside it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
