"""The ledger's table of calls: questions to the teacher, each with the attempt whose answer is in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen

from rt_framework.errors import FALLBACK_KINDS, TeacherError
from rt_framework.kit.compact import CompactStrings
from rt_framework.ledger.costs import COST
from rt_framework.ledger.database import Database
from rt_framework.ledger.handovers import HandoverTable
from rt_framework.ledger.key_index import CALLS, PAIRS, row_of
from rt_framework.ledger.patterns import Patterns
from rt_framework.ledger.statements import Statement
from rt_framework.model import Handover, Reply, Request

_FAILED = f"""
SELECT reflection, pair, teacher, draw, answer IS NOT NULL
FROM failures CROSS JOIN calls ON calls.number IN ({row_of(CALLS, "failures.call")}) WHERE kind = ?
"""  # noqa: S608 - fixed text
# Questions that went on from a teacher which failed with this kind, and that no teacher after it could do either.
_FAILED_BEFORE = f"""
SELECT reflection, pair, asked.teacher, draw, answer IS NOT NULL
FROM handovers CROSS JOIN calls asked ON asked.number IN ({row_of(CALLS, "handovers.call")})
WHERE kind = ? AND EXISTS (
  SELECT 1 FROM calls last WHERE last.number IN ({row_of(PAIRS, "asked.pair")})
  AND last.key IN (SELECT call FROM failures)
  AND last.reflection = asked.reflection AND last.draw = asked.draw)
"""  # noqa: S608 - fixed text
_SAME = f"reflection = ?1 AND number IN ({row_of(PAIRS, '?2')}) AND teacher = ?3 AND draw = ?4"
_WITHDRAW = f"UPDATE calls SET answer = NULL WHERE {_SAME}"  # noqa: S608 - fixed text
_STANDS = f"state = 'failed' AND kind IN ({', '.join(repr(kind) for kind in sorted(FALLBACK_KINDS))})"
_RELEASE = f"""
UPDATE attempts SET state = CASE state WHEN 'unknown' THEN 'failed' ELSE 'released' END
WHERE (state = 'unknown' OR {_STANDS}) AND call IN (SELECT number FROM calls WHERE {_SAME})
"""  # noqa: S608 - fixed text


@frozen
class Call:
    """One question to the teacher, with every attempt at it."""

    key: str
    """Ledger key: a hash of the teacher and of all that it was asked."""
    teacher: str
    """Identity of the teacher."""
    request: Request
    """The question."""
    reply: Reply | None
    """The answer; ``None`` where none came."""
    attempts: tuple[tuple[str, str | None, str | None], ...]
    """State, kind of failure and message of each attempt, oldest first."""
    handover: Handover | None = None
    """The failure after which the question went to the teacher's fallback, if this call was the last one before it."""
    nano_dollars: int = 0
    """Cost of all attempts; one under way counts with the most that it can cost."""


class CallTable:
    """The calls in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._patterns = Patterns(db)
        self.handovers = HandoverTable(db)

    def reply(self, key: str) -> Reply | None:
        """Return the committed answer of a call, or ``None``."""
        sql = "SELECT reply FROM calls JOIN attempts ON attempts.id = answer WHERE number = ?"
        row = self._first(sql, key)
        return None if row is None else self._db.parsed(row[0], Reply, "answer", key)

    def final_failure(self, key: str) -> TeacherError | None:
        """Return the failure after which a call goes to the teacher's fallback and is not sent again, or ``None``.

        It is that of the latest attempt, as long as no ``rt retry`` has released it.
        """
        sql = f"SELECT {_STANDS}, kind, message FROM attempts WHERE call = ? ORDER BY id DESC LIMIT 1"  # noqa: S608 - fixed text
        row = self._first(sql, key)
        return TeacherError(row[1], row[2] or "") if row is not None and row[0] else None

    def find(self, keys: Iterable[str]) -> dict[str, Call]:
        """Return the calls with these keys, by key; unknown keys are left out."""
        calls = {}
        of_number = "FROM calls LEFT JOIN attempts ON attempts.id = answer WHERE number = ?"
        for key in keys:
            row = self._first(f"SELECT number, teacher, reply, request, pattern {of_number}", key)
            if row is None:
                continue
            number, teacher, answer, packed, pattern = row
            attempts = self._db.rows("SELECT state, kind, message FROM attempts WHERE call = ? ORDER BY id", (number,))
            cost = int(self._db.first(f"SELECT {COST} FROM attempts WHERE call = ?", (number,))[0])  # noqa: S608 - fixed text
            request = self._patterns.request(packed, pattern, key)
            reply = None if answer is None else self._db.parsed(answer, Reply, "answer", key)
            calls[key] = Call(key, teacher, request, reply, tuple(attempts), self.handovers.of(key), cost)
        return calls

    def keys_about(self, pairs: Iterable[str]) -> list[str]:
        """Return the keys of the calls about *pairs*, given by hash: pair by pair, then question by question.

        The calls of a question are ordered by draw, index and step.
        """
        keys = []
        about = f"number IN ({row_of(PAIRS, '?1')})"
        for pair in pairs:
            sql = f"SELECT key FROM calls WHERE {about} ORDER BY reflection, draw, idx, step"  # noqa: S608 - fixed text
            rows = self._db.rows(sql, (pair,))
            keys += [row[0] for row in rows]
        return keys

    def keys_in_use(self) -> CompactStrings:
        """Return the keys of the calls with an answer in use, by teacher, then question by question.

        The order does not depend on when the questions were asked.
        """
        order = "teacher, reflection, pair, draw, idx, step, key"
        rows = self._db.rows(f"SELECT key FROM calls WHERE answer IS NOT NULL ORDER BY {order}")  # noqa: S608 - fixed text
        return CompactStrings(row[0] for row in rows)

    def withdrawn(self, key: str) -> bool:
        """Return whether a call has an answer that is no longer used, because another one is wanted."""
        unused = "number = ? AND answer IS NULL AND state = 'answered'"
        return self._first(f"SELECT 1 FROM calls JOIN attempts ON call = number WHERE {unused}", key) is not None  # noqa: S608

    def unknown(self) -> list[str]:
        """Return the keys of the calls that a killed run may have paid for without receiving an answer."""
        sql = "SELECT key FROM attempts JOIN calls ON number = call WHERE kind = 'interrupted_unknown' ORDER BY id"
        return [row[0] for row in self._db.rows(sql)]

    def doubtful(self) -> list[str]:
        """Return the keys of unknown calls that were neither answered since nor released to be asked again."""
        sql = "SELECT DISTINCT key FROM attempts JOIN calls ON number = call WHERE state = 'unknown' AND answer IS NULL"
        return [row[0] for row in self._db.rows(sql)]

    def unread(self) -> frozenset[str]:
        """Return the keys of the calls with an answer that was paid for and could not be read."""
        sql = "SELECT DISTINCT key FROM attempts JOIN calls ON number = call WHERE raw IS NOT NULL"
        return frozenset(row[0] for row in self._db.rows(sql))

    def unread_answers(self, key: str) -> list[tuple[int, int, bytes]]:
        """Return attempt, cost in nano-dollars and body of each unreadable answer to a call, oldest first."""
        sql = "SELECT id, cost, raw FROM attempts WHERE call = ? AND raw IS NOT NULL AND state = 'failed' ORDER BY id"
        number = self._number(key)
        return [] if number is None else list(self._db.rows(sql, (number,)))

    def _number(self, key: str) -> int | None:
        """Return the number of the call with a key, or ``None``."""
        if not self._db.possible_keys(CALLS, [key]):
            return None
        row = self._db.first(row_of(CALLS, "?1"), (key,))
        return None if row is None else int(row[0])

    def _first(self, sql: str, key: str) -> Any:
        """Return the first row of a query that is given the number of the call with a key, or ``None``."""
        number = self._number(key)
        return None if number is None else self._db.first(sql, (number,))

    async def withdraw(self, kinds: Sequence[str]) -> int:
        """Let rewrites that failed with one of *kinds* be asked again, and return their number.

        Where an answer could not be used, the question is asked from its first request on, whichever step of a
        conversation failed; the answers stay in the ledger, but are no longer used. Where no answer arrived, only that
        call is asked again. Where a rewrite failed at several teachers, one after the other, those are asked again that
        failed with one of *kinds*.

        Args:
            kinds: kinds of failure, as recorded for the samples of the last run.
        """
        failed = (_FAILED, _FAILED_BEFORE)
        questions = {question for kind in kinds for sql in failed for question in self._db.rows(sql, (kind,))}
        statements: list[Statement] = []
        for *question, answered in sorted(questions):
            statements += [Statement(_WITHDRAW, question)] if answered else []
            statements.append(Statement(_RELEASE, question))
        await self._db.write(statements)
        return len({(reflection, pair, draw) for reflection, pair, _, draw, _ in questions})
