"""The teacher's chain: a reflection renders a question, the answer is paid for once, the reflection reads it.

Nothing is read before it is committed, so a better parser costs no call.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from rt_framework.errors import KINDS, Retry
from rt_framework.model import Failure, Pair, Request, Unparsed, Version
from rt_framework.protocols import Question, Reflection
from rt_framework.teacher.asking import rendered
from rt_framework.teacher.calls import Answer

T = TypeVar("T")


class Answers(Protocol):
    """Where the answers to questions come from: those who pay for them, or the ledger alone."""

    async def answer(self, request: Request, first: bool, stage: str = "") -> Answer:
        """See :meth:`rt_framework.teacher.calls.Calls.answer`."""


class TeacherClient:
    """Rewrites by one teacher.

    Args:
        calls: answers questions.
        structured: whether answers are held to a JSON schema.
        answers: most answers asked for one rewrite when they are unusable.
    """

    def __init__(self, calls: Answers, structured: bool, answers: int) -> None:
        self._calls = calls
        self._structured = structured
        self._answers = answers

    async def reflect(self, name: str, reflection: Reflection, version: Version, stage: str) -> Version | Failure:
        """A rewrite of *version*, or why there is none after every attempt that is allowed.

        Raises:
            FatalTeacherError: no further call can succeed.
            BudgetReached: the budget allows no further call.
        """
        said, key = await self._said(reflection, version.pair, stage)
        if isinstance(said, Unparsed):
            return Failure(stage, said.kind, said.reason, key)
        return Version(lineage(version.name, name), said, version.name, name, key)

    async def ask(self, question: Question[T], version: Version, stage: str) -> T | Failure:
        """What the teacher says of *version*, or why nothing usable.

        Raises:
            FatalTeacherError, BudgetReached: as :meth:`reflect`.
        """
        said, key = await self._said(question, version.pair, stage)
        return Failure(stage, said.kind, said.reason, key) if isinstance(said, Unparsed) else said

    async def _said(self, question: Question[T], pair: Pair, stage: str) -> tuple[T | Unparsed, str | None]:
        """The first usable answer of those that are allowed, or why the last one is not; and its key."""
        said: T | Unparsed = Unparsed("format", "no answer was asked for")
        key = None
        for index in range(self._answers):
            request = rendered(question, pair, index, self._structured)
            answer = await self._calls.answer(request, index == 0, stage)
            said, key = _read(question, pair, request, answer), answer.key
            if not isinstance(said, Unparsed) or KINDS[said.kind].retry is not Retry.CHANGE:
                break
        return said, key


def _read(question: Question[T], pair: Pair, request: Request, answer: Answer) -> T | Unparsed:
    if answer.reply is None:
        error = answer.error
        return Unparsed(error.kind.name, error.message) if error else Unparsed("connection", "no answer")
    return question.parse(pair, request, answer.reply)


def lineage(parent: str, reflection: str) -> str:
    """The name of a rewrite."""
    return reflection if parent == "original" else f"{parent}.{reflection}"
