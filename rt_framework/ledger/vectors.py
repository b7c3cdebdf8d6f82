"""The ledger's table of vectors, by which no vector is computed twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from rt_framework.kit.compact import from_bytes, to_bytes
from rt_framework.ledger.database import Database
from rt_framework.ledger.statements import Statement


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
