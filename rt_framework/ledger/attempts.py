"""The ledger's table of attempts: requests that were, or were about to be, sent to a provider."""

from __future__ import annotations

from attrs import asdict, evolve, frozen

from rt_framework.errors import TeacherError
from rt_framework.ledger.database import Database
from rt_framework.ledger.patterns import Packed, Patterns
from rt_framework.ledger.statements import Statement, as_json
from rt_framework.model import Reply, Request

_CALL = """
INSERT OR IGNORE INTO calls (key, reflection, pair, idx, draw, step, teacher, pattern, request)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ATTEMPT = "INSERT INTO attempts (call, state, reserved, batch) VALUES (?, 'intent', ?, ?)"


COPIED = "copied"
"""Kind of an attempt whose answer another run directory has paid for."""

_COPY = """
INSERT INTO attempts (call, state, kind, message, reserved, cost, reply) VALUES (?, 'answered', ?, ?, 0, 0, ?)
"""
_USE_COPY = "UPDATE calls SET answer = (SELECT MAX(id) FROM attempts WHERE call = ? AND kind = ?) WHERE key = ?"


@frozen
class Intent:
    """The two statements that record an attempt about to be sent."""

    call: Statement
    """Inserts the call, if it is new."""
    attempt: Statement
    """Inserts the attempt; the id of its row is the attempt's number."""

    @classmethod
    def of(
        cls, key: str, teacher: str, request: Request, packed: Packed, reserved: int, batch: str | None = None
    ) -> Intent:
        """Return the statements for a request.

        Args:
            key: key of the call.
            teacher: identity of the teacher.
            request: the request.
            packed: the same in its short form.
            reserved: most that the attempt can cost, in nano-dollars.
            batch: token of its batch, if it is sent in one.
        """
        about = request.reflection, request.pair_hash, request.index, request.draw, request.step
        call = Statement(_CALL, (key, *about, teacher, packed.pattern, packed.text), "calls", [key])
        return cls(call, Statement(_ATTEMPT, (key, reserved, batch)))

    @property
    def statements(self) -> tuple[Statement, Statement]:
        """Both statements, in the order in which they are executed."""
        return self.call, self.attempt


class AttemptTable:
    """The attempts in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._patterns = Patterns(db)

    async def intend(self, key: str, teacher: str, request: Request, reserved: int) -> int:
        """Commit that an attempt is about to be sent, and return its number.

        Args:
            key: key of the call.
            teacher: identity of the teacher.
            request: the request that will be sent.
            reserved: most that the attempt can cost, in nano-dollars.
        """
        # Committed before sending, so that a run that is killed meanwhile knows that the attempt may be billed.
        intent = Intent.of(key, teacher, request, await self._patterns.pack(request), reserved)
        ids = await self._db.write(intent.statements)
        return ids[intent.attempt]

    async def answered(self, attempt: int, key: str, reply: Reply) -> None:
        """Commit the raw answer of an attempt, after which the call is not sent again unless it is withdrawn."""
        # One commit for both, so that no answer is charged without being in use.
        done = "UPDATE attempts SET state = 'answered', kind = NULL, message = ?, cost = ?, reply = ? WHERE id = ?"
        await self._db.write(
            [
                Statement(done, (reply.note or None, reply.nano_dollars, as_json(asdict(reply)), attempt)),
                Statement("UPDATE calls SET answer = ? WHERE key = ?", (attempt, key)),
            ]
        )

    async def copied(self, key: str, teacher: str, request: Request, reply: Reply) -> None:
        """Commit an answer that another run directory has paid for; it costs nothing here.

        Args:
            key: key of the call.
            teacher: identity of the teacher.
            request: the question.
            reply: the answer.
        """
        free = evolve(reply, nano_dollars=0, charge=None)
        intent = Intent.of(key, teacher, request, await self._patterns.pack(request), 0)
        await self._db.write(
            [
                intent.call,
                Statement(_COPY, (key, COPIED, free.note or None, as_json(asdict(free)))),
                Statement(_USE_COPY, (key, COPIED, key)),
            ]
        )

    async def failed(self, attempt: int, error: TeacherError, cost: int) -> None:
        """Commit that an attempt gave no answer, or an unreadable one, of which the body is kept.

        Args:
            attempt: number of the attempt.
            error: failure of the attempt.
            cost: nano-dollars charged to the budget: the whole reservation if the attempt may be billed.
        """
        sql = "UPDATE attempts SET state = 'failed', kind = ?, message = ?, cost = ?, raw = ? WHERE id = ?"
        await self._db.write([Statement(sql, (error.kind.name, error.message, cost, error.raw, attempt))])

    async def settle_interrupted(self) -> int:
        """Mark the attempts that a killed run left open as unknown, charge them in full, and return their number.

        Attempts in a batch stay open, because the provider can be asked for their answers.
        """
        left = "state = 'intent' AND batch IS NULL"
        count = self._db.first(f"SELECT COUNT(*) FROM attempts WHERE {left}")  # noqa: S608 - fixed text
        change = "state = 'unknown', kind = 'interrupted_unknown', cost = reserved"
        await self._db.write([Statement(f"UPDATE attempts SET {change} WHERE {left}")])  # noqa: S608 - fixed text
        return int(count[0]) if count else 0

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of attempts by ``(state, kind)``; the kind is empty where there was no failure."""
        rows = self._db.rows("SELECT state, COALESCE(kind, ''), COUNT(*) FROM attempts GROUP BY 1, 2 ORDER BY 1, 2")
        return {(state, kind): count for state, kind, count in rows}
