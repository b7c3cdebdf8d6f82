"""What the ledger says of batches: who is to be asked for the answers to what was submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from rt_framework.ledger import Ledger, intent_rows
from rt_framework.model import Request
from rt_framework.writer import Statement


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


class BatchBook:
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
        """Commit that a batch is ``submitted`` under the provider's *name*, ``collected``, or ``absent`` there."""
        await self._ledger.write(
            [("UPDATE batches SET state = ?, name = COALESCE(?, name) WHERE token = ?", (state, name, token))]
        )

    def open(self) -> list[OpenBatch]:
        """Batches that have not been collected, with those of their questions that have no answer yet."""
        sql = "SELECT token, created, name FROM batches WHERE state IN ('intent', 'submitted') ORDER BY created"
        return [
            OpenBatch(token, created, name, tuple(self._questions(token)))
            for token, created, name in list(self._ledger.rows(sql))
        ]

    def _questions(self, token: str) -> Iterator[OpenQuestion]:
        columns = "id, call, request, reserved FROM attempts JOIN calls ON key = call"
        sql = f"SELECT {columns} WHERE batch = ? AND state = 'intent' ORDER BY id"
        for attempt, key, request, reserved in self._ledger.rows(sql, (token,)):
            yield OpenQuestion(attempt, key, self._ledger.request(request, key), reserved)
