"""The ledger's tables of losses and of vectors, by which the student computes nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from rt_framework.kit.compact import from_bytes, to_bytes
from rt_framework.ledger.database import Database
from rt_framework.ledger.key_index import LOSSES, beginning, rows_like
from rt_framework.ledger.statements import Statement, rows_of
from rt_framework.spans import SpanLoss

_ROWS = rows_like(LOSSES, "{marks}")

_MOST_ROWS = 150
"""Most losses that one statement inserts."""


class LossTable:
    """The losses in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, keys: Iterable[str]) -> dict[str, SpanLoss]:
        """Return the known losses by key, without the losses of single tokens."""
        return self._found(f"SELECT losses.key, nll, tokens, status, reason FROM {_ROWS}", keys)  # noqa: S608 - fixed

    def find_by_token(self, keys: Iterable[str]) -> dict[str, SpanLoss]:
        """Return the known losses by key, with the losses of single tokens.

        A loss of which these are not stored is left out, unless it has no value and so needs none.
        """
        select = f"""
        SELECT losses.key, losses.nll, tokens, status, reason, token_losses.nll, ranks, IFNULL(cut, 0)
        FROM {_ROWS} LEFT JOIN token_losses ON token_losses.key = losses.key
        WHERE losses.nll IS NULL OR ranks IS NOT NULL
        """  # noqa: S608 - fixed text
        return self._found(select, keys)

    async def put(self, losses: Mapping[str, SpanLoss]) -> None:
        """Commit computed losses."""
        rows = [(key, loss.nll, loss.tokens, loss.status, loss.reason) for key, loss in losses.items()]
        statements: list[Statement] = []
        for start in range(0, len(rows), _MOST_ROWS):
            some = rows[start : start + _MOST_ROWS]
            # A loss that is computed again, with those of its tokens, becomes another row; the latest one counts.
            sql = f"INSERT INTO losses (key, nll, tokens, status, reason) VALUES {rows_of(some)}"  # noqa: S608 - marks
            statements.append(Statement(sql, [value for row in some for value in row]))
        for key, loss in losses.items():
            if loss.token_nll is not None and loss.token_ranks is not None:
                values = (key, to_bytes("f", loss.token_nll), to_bytes("I", loss.token_ranks), loss.cut)
                statements.append(Statement("INSERT OR REPLACE INTO token_losses VALUES (?, ?, ?, ?)", values))
        self._db.expect(LOSSES, losses)
        await self._db.write(statements)

    def _found(self, select: str, keys: Iterable[str]) -> dict[str, SpanLoss]:
        wanted = set(self._db.possible_keys(LOSSES, keys))
        rows = self._db.among(f"{select} ORDER BY losses.number", [*map(beginning, wanted)])
        return {row[0]: self._loss(*row) for row in rows if row[0] in wanted}

    def _loss(self, key: str, nll: Any, tokens: Any, status: Any, reason: Any, *by_token: Any) -> SpanLoss:
        try:
            if not (nll is None or isinstance(nll, float)) or type(tokens) is not int or not isinstance(status, str):
                raise ValueError(status)
            losses: Any = (*map(from_bytes, "fI", by_token[:2]), *by_token[2:])
            return SpanLoss(nll, tokens, status, reason, *losses)
        except (TypeError, ValueError) as error:
            raise self._db.unreadable("loss", key) from error


@frozen
class SpanVector:
    """The vector of one span: a mean over its target tokens."""

    tokens: int
    """Number of target tokens."""
    numbers: Sequence[float]
    """The numbers of the vector (float32)."""


class VectorTable:
    """The vectors in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def known(self, keys: Iterable[str]) -> set[str]:
        """Return those of the keys that have a vector."""
        return {key for (key,) in self._db.among("SELECT key FROM vectors WHERE key IN ({marks})", list(keys))}

    def find(self, keys: Iterable[str]) -> dict[str, SpanVector]:
        """Return the known vectors by key."""
        sql = "SELECT key, tokens, vector FROM vectors WHERE key IN ({marks})"
        return {key: self._vector(key, tokens, stored) for key, tokens, stored in self._db.among(sql, list(keys))}

    async def put(self, vectors: Mapping[str, SpanVector]) -> None:
        """Commit computed vectors."""
        await self._db.write(
            [
                Statement(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                    (key, vector.tokens, to_bytes("f", vector.numbers)),
                )
                for key, vector in vectors.items()
            ]
        )

    def _vector(self, key: str, tokens: object, stored: object) -> SpanVector:
        try:
            numbers = from_bytes("f", stored) if isinstance(stored, bytes) else None
            if not isinstance(tokens, int) or not numbers:
                raise ValueError(tokens)
            return SpanVector(tokens, numbers)
        except (TypeError, ValueError) as error:
            raise self._db.unreadable("vector", key) from error
