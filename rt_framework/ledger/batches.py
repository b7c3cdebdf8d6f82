"""The ledger's records of provider batches, by which a later run finds the answers to submitted questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from rt_framework.errors import TeacherError
from rt_framework.ledger.attempts import AttemptTable, Intent
from rt_framework.ledger.database import Database
from rt_framework.ledger.patterns import Patterns
from rt_framework.ledger.statements import Statement
from rt_framework.model import Request


@frozen
class OpenQuestion:
    """An attempt in a batch that has neither an answer nor a failure yet."""

    attempt: int
    key: str
    request: Request
    reserved: int
    """Most that the attempt can cost, in nano-dollars."""


@frozen
class OpenBatch:
    """Questions that were, or were about to be, submitted together."""

    token: str
    """Random mark that is submitted with the batch, so that it can be found at the provider after a crash."""
    created: float
    """Time at which the batch was committed, in seconds since 1970."""
    name: str | None
    """The provider's name of the batch; ``None`` until it is known."""
    questions: tuple[OpenQuestion, ...]
    lost: bool = False
    """True if the provider no longer has the batch, or its answers about it stayed unreadable."""


LONGEST_BATCH = 48 * 3600.0
"""Seconds after which a batch counts as lost: providers end a batch within 24 hours."""

OPEN = "state IN ('intent', 'submitted', 'lost')"
"""SQL condition of a batch that was neither collected nor given up."""


class BatchTable:
    """The provider batches in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._patterns = Patterns(db)

    async def begin(
        self, token: str, created: float, teacher: str, questions: Sequence[tuple[str, Request, int]]
    ) -> OpenBatch:
        """Commit that questions are about to be submitted in one batch, and return the batch.

        Args:
            token: mark that will be submitted with the batch.
            created: present time, in seconds since 1970.
            teacher: identity of the teacher.
            questions: key, request and reserved nano-dollars of each question.
        """
        # Batch and intents are one commit, so that a crash leaves no reserved question without its batch.
        batch = Statement("INSERT INTO batches (token, created, state) VALUES (?, ?, 'intent')", (token, created))
        packed = [await self._patterns.pack(request) for _, request, _ in questions]
        intents = [
            Intent.of(self._db, key, teacher, request, short, reserved, token)
            for (key, request, reserved), short in zip(questions, packed, strict=True)
        ]
        ids = await self._db.write([batch, *(statement for intent in intents for statement in intent.statements)])
        numbers = [ids[intent.attempt] for intent in intents]
        numbered = zip(numbers, questions, strict=True)
        return OpenBatch(token, created, None, tuple(OpenQuestion(number, *question) for number, question in numbered))

    async def is_now(self, token: str, state: str, name: str | None = None) -> None:
        """Commit the state of a batch: ``submitted`` (under the provider's *name*), ``collected``, ``lost`` or ``up``.

        ``up`` stands for given up.
        """
        sql = "UPDATE batches SET state = ?, name = COALESCE(?, name) WHERE token = ?"
        await self._db.write([Statement(sql, (state, name, token))])

    def open(self, teacher: str | None = None) -> list[OpenBatch]:
        """Return the batches that were neither collected nor given up, each with its questions that are still open.

        Args:
            teacher: identity of the teacher whose batches are wanted; all batches when left out.
        """
        sql = f"SELECT token, created, name, state = 'lost' FROM batches WHERE {OPEN} ORDER BY created"  # noqa: S608
        return [
            OpenBatch(token, created, name, tuple(self._questions(token)), bool(lost))
            for token, created, name, lost in list(self._db.rows(sql))
            if teacher in (None, self._teacher(token))
        ]

    async def give_up_lost(self, before: float) -> int:
        """Give up the batches that the provider has lost, and those that it should have ended long ago.

        Args:
            before: time in seconds since 1970; batches that were committed earlier are given up.

        Returns:
            the number of their open questions.
        """
        lost = [batch for batch in self.open() if batch.lost or batch.created < before]
        for batch in lost:
            await self.give_up(batch)
        return sum(len(batch.questions) for batch in lost)

    async def give_up(self, batch: OpenBatch) -> None:
        """Commit that a batch is no longer waited for: its open questions failed, and may have been billed."""
        error = TeacherError("batch_lost", "given up")
        # Charged in full, because the provider may have billed answers that were never received.
        for question in batch.questions:
            await AttemptTable(self._db).failed(question.attempt, error, question.reserved)
        await self.is_now(batch.token, "up")

    def _teacher(self, token: str) -> str:
        sql = "SELECT teacher FROM attempts JOIN calls ON number = call WHERE batch = ? LIMIT 1"
        return str(self._db.first(sql, (token,))[0])

    def _questions(self, token: str) -> Iterator[OpenQuestion]:
        columns = "id, key, request, pattern, reserved FROM attempts JOIN calls ON number = call"
        sql = f"SELECT {columns} WHERE batch = ? AND state = 'intent' ORDER BY id"
        for attempt, key, request, pattern, reserved in self._db.rows(sql, (token,)):
            yield OpenQuestion(attempt, key, self._patterns.request(request, pattern, key), reserved)
