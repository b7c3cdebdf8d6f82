"""What the ledger says of batches: who is to be asked for the answers to what was submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from rt_framework.errors import TeacherError
from rt_framework.ledger.ledger import Ledger, intent_rows
from rt_framework.ledger.writer import Statement
from rt_framework.model import Request


@frozen
class OpenQuestion:
    """An attempt of a batch that has no end yet."""

    attempt: int
    key: str
    request: Request
    reserved: int
    """Most it can cost, in nano-dollars."""


@frozen
class OpenBatch:
    """Questions that were, or were about to be, submitted together."""

    token: str
    """What the provider was told to keep with it."""
    created: float
    """When it was committed, in seconds since 1970."""
    name: str | None
    """The provider's name of it, once that is known."""
    questions: tuple[OpenQuestion, ...]
    lost: bool = False
    """Whether the provider said that it no longer has it."""


LONGEST_BATCH = 48 * 3600.0
"""Seconds after which a batch counts as lost: providers end one within 24 hours."""

OPEN = "state IN ('intent', 'submitted', 'lost')"
"""The condition of a batch that has neither been collected nor given up."""


class BatchTable:
    """The batches of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def begin(
        self, token: str, created: float, teacher: str, questions: Sequence[tuple[str, Request, int]]
    ) -> OpenBatch:
        """Commit that questions are about to be submitted in one batch.

        Args:
            created: now, in seconds since 1970.
            questions: key, request, and most it can cost in nano-dollars.
        """
        statements: list[Statement] = [
            ("INSERT INTO batches (token, created, state) VALUES (?, ?, 'intent')", (token, created))
        ]
        for key, request, reserved in questions:
            statements += intent_rows(key, teacher, request, reserved, token)
        numbers = (await self._ledger.write(statements))[2::2]
        asked = zip(numbers, questions, strict=True)
        return OpenBatch(token, created, None, tuple(OpenQuestion(number, *question) for number, question in asked))

    async def is_now(self, token: str, state: str, name: str | None = None) -> None:
        """Commit that a batch is ``submitted`` under the provider's *name*, ``collected``, ``lost`` or given ``up``."""
        await self._ledger.write(
            [("UPDATE batches SET state = ?, name = COALESCE(?, name) WHERE token = ?", (state, name, token))]
        )

    def open(self) -> list[OpenBatch]:
        """Batches that have not been collected, with those of their questions that have no answer yet."""
        sql = f"SELECT token, created, name, state = 'lost' FROM batches WHERE {OPEN} ORDER BY created"  # noqa: S608
        return [
            OpenBatch(token, created, name, tuple(self._questions(token)), bool(lost))
            for token, created, name, lost in list(self._ledger.rows(sql))
        ]

    async def give_up_lost(self, before: float) -> int:
        """Give up the batches that the provider has lost, and those that it should have ended long ago.

        Args:
            before: those that were committed before this are of the latter, in seconds since 1970.

        Returns:
            the number of their questions.
        """
        lost = [batch for batch in self.open() if batch.lost or batch.created < before]
        for batch in lost:
            await self.give_up(batch)
        return sum(len(batch.questions) for batch in lost)

    async def give_up(self, batch: OpenBatch) -> None:
        """Commit that nobody waits for a batch any more: its questions failed, and may have been billed."""
        error = TeacherError("batch_lost", "given up")
        for question in batch.questions:
            await self._ledger.attempt_failed(question.attempt, error, question.reserved)
        await self.is_now(batch.token, "up")

    def _questions(self, token: str) -> Iterator[OpenQuestion]:
        columns = "id, call, request, reserved FROM attempts JOIN calls ON key = call"
        sql = f"SELECT {columns} WHERE batch = ? AND state = 'intent' ORDER BY id"
        for attempt, key, request, reserved in self._ledger.rows(sql, (token,)):
            yield OpenQuestion(attempt, key, self._ledger.request(request, key), reserved)
