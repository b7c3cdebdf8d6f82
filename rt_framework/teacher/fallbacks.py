"""The way of a question from a teacher to its fallback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from rt_framework.config import MAIN_TEACHER
from rt_framework.ledger import Ledger
from rt_framework.model import Handover, Unparsed
from rt_framework.teacher.client import AnswerSource, Fallback, TeacherClient
from rt_framework.teacher.counts import TeacherCounter

Note = Callable[[str, Unparsed], Awaitable[None]]
"""Function that notes the call that failed for good and its failure, before the fallback is asked."""


@frozen
class AskedTeacher:
    """A teacher as far as questions to it are concerned."""

    source: AnswerSource
    """Gives its answers."""
    structured: bool
    """True if its answers have to follow a JSON schema."""
    fallback: str | None
    """Name of the teacher that is asked after its final failure."""


def clients_of(
    asked: Mapping[str, AskedTeacher], answers: int, note: Callable[[str, str], Note]
) -> dict[str, TeacherClient]:
    """Return a client for each teacher, which goes to the fallback's client after a final failure.

    Args:
        asked: the teachers by name, each with all its fallbacks.
        answers: most answers that each of them is asked for one rewrite, as long as they are unusable.
        note: returns the function that notes questions on their way from one teacher to another, given both names.
    """
    clients: dict[str, TeacherClient] = {}

    def client(name: str) -> TeacherClient:
        if name not in clients:
            one = asked[name]
            onward = None if one.fallback is None else Fallback(client(one.fallback), note(name, one.fallback))
            clients[name] = TeacherClient(one.source, one.structured, answers, onward)
        return clients[name]

    return {name: client(name) for name in asked}


class HandoverLog:
    """A log of the questions that go from one teacher to its fallback: each is committed and counted once.

    Args:
        teacher: name of the teacher in the config; empty for the main one.
        fallback: name of the fallback.
        ledger: where they are committed.
        counter: counter of the teacher's calls.
    """

    def __init__(self, teacher: str, fallback: str, ledger: Ledger, counter: TeacherCounter) -> None:
        self._names = (teacher or MAIN_TEACHER, fallback or MAIN_TEACHER)
        self._ledger = ledger
        self._counter = counter
        self._under_way: set[str] = set()

    async def note(self, call: str, failure: Unparsed) -> None:
        """Note that a question goes to the fallback, unless an equal one has done so in this run."""
        if call in self._under_way or self._ledger.calls.handovers.of(call) is not None:
            return
        self._under_way.add(call)
        try:
            await self._ledger.calls.handovers.note(Handover(call, *self._names, failure.kind, failure.reason))
        finally:
            self._under_way.discard(call)
        self._counter.to_fallback[failure.kind] += 1
