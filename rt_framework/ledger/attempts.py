"""The ledger's table of attempts: requests that were, or were about to be, sent to a provider."""

from __future__ import annotations

from attrs import asdict, evolve, frozen

from rt_framework.errors import TeacherError
from rt_framework.ledger.database import Database
from rt_framework.ledger.key_index import CALLS, row_of
from rt_framework.ledger.patterns import Packed, Patterns
from rt_framework.ledger.statements import Statement, as_json
from rt_framework.model import Reply, Request

_KNOWN = row_of(CALLS, "?1")
_CALL = """
INSERT INTO calls (key, reflection, pair, idx, draw, step, teacher, pattern, request)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9"""
_CALL_IF_NEW = f"{_CALL} WHERE NOT EXISTS ({_KNOWN})"

COPIED = "copied"
"""Kind of an attempt whose answer another run directory has paid for."""

_ATTEMPT = "INSERT INTO attempts (call, state, reserved, batch) VALUES (({}), 'intent', ?2, ?3)"
_COPY = f"""
INSERT INTO attempts (call, state, kind, message, reserved, cost, reply)
VALUES (({_KNOWN}), 'answered', ?2, ?3, 0, 0, ?4)"""  # noqa: S608 - fixed text
_USE = "UPDATE calls SET answer = ?1 WHERE number = (SELECT call FROM attempts WHERE id = ?1)"
_USE_COPY = _USE.replace("?1", "last_insert_rowid()")


@frozen
class Intent:
    """The two statements that record an attempt about to be sent."""

    call: Statement
    """Inserts the call, if it is new."""
    attempt: Statement
    """Inserts the attempt; the id of its row is the attempt's number."""

    @classmethod
    def of(
        cls,
        db: Database,
        key: str,
        teacher: str,
        request: Request,
        packed: Packed,
        reserved: int,
        batch: str | None = None,
    ) -> Intent:
        """Return the statements for a request. The caller writes them before it awaits anything.

        Else the same question may be written meanwhile, which is taken for new here.

        Args:
            db: ledger to which they are written.
            key: key of the call.
            teacher: identity of the teacher.
            request: the request.
            packed: the same in its short form.
            reserved: most that the attempt can cost, in nano-dollars.
            batch: token of its batch, if it is sent in one.
        """
        about = request.reflection, request.pair_hash, request.index, request.draw, request.step
        new = not db.possible_keys(CALLS, [key])
        db.expect(CALLS, [key])
        call = Statement(_CALL if new else _CALL_IF_NEW, (key, *about, teacher, packed.pattern, packed.text))
        attempt = _ATTEMPT.format("last_insert_rowid()" if new else _KNOWN)
        return cls(call, Statement(attempt, (key, reserved, batch)))

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
        packed = await self._patterns.pack(request)
        intent = Intent.of(self._db, key, teacher, request, packed, reserved)
        ids = await self._db.write(intent.statements)
        return ids[intent.attempt]

    async def answered(self, attempt: int, reply: Reply) -> None:
        """Commit the raw answer of an attempt, after which its call is not sent again unless it is withdrawn."""
        # One commit for both, so that no answer is charged without being in use.
        done = "UPDATE attempts SET state = 'answered', kind = NULL, message = ?, cost = ?, reply = ? WHERE id = ?"
        await self._db.write(
            [
                Statement(done, (reply.note or None, reply.nano_dollars, as_json(asdict(reply)), attempt)),
                Statement(_USE, (attempt,)),
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
        packed = await self._patterns.pack(request)
        intent = Intent.of(self._db, key, teacher, request, packed, 0)
        await self._db.write(
            [
                intent.call,
                Statement(_COPY, (key, COPIED, free.note or None, as_json(asdict(free)))),
                Statement(_USE_COPY),
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
