"""The ledger's table of handovers: questions of the last run that went from a teacher to its fallback, and why."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import astuple

from rt_framework.ledger.database import Database
from rt_framework.ledger.key_index import CALLS, PAIRS, row_of
from rt_framework.ledger.statements import Statement
from rt_framework.model import Handover

# The fallback's call is the one about the same pair by the same question and draw. The order of the joins is fixed,
# because each of them then finds its rows by an index.
_BEHIND = f"""
SELECT name, handovers.* FROM versions
CROSS JOIN calls given ON given.number IN ({row_of(CALLS, "versions.call")})
CROSS JOIN calls failed ON failed.number IN ({row_of(PAIRS, "given.pair")})
  AND failed.reflection = given.reflection AND failed.draw = given.draw
CROSS JOIN handovers ON handovers.call = failed.key
WHERE sample = ? ORDER BY seq, handovers.rowid
"""  # noqa: S608 - fixed text


class HandoverTable:
    """The handovers in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(self, handover: Handover) -> None:
        """Commit that a question went to the fallback."""
        await self._db.write([Statement("INSERT OR REPLACE INTO handovers VALUES (?, ?, ?, ?, ?)", astuple(handover))])

    def of(self, call: str) -> Handover | None:
        """Return the handover after a call; ``None`` if its question went to no fallback in the last run."""
        row = self._db.first("SELECT * FROM handovers WHERE call = ?", (call,))
        return None if row is None else Handover(*row)

    def counts(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield teacher, fallback, kind of failure and number of questions, the most frequent kind first."""
        return self._db.rows(
            "SELECT teacher, fallback, kind, COUNT(*) FROM handovers GROUP BY 1, 2, 3 ORDER BY 1, 2, 4 DESC, 3"
        )

    def behind(self, number: int) -> dict[str, tuple[Handover, ...]]:
        """Return the handovers that led to the answers of the versions of a sample, given by its number in the ledger.

        They are by version and in order.
        """
        found: dict[str, tuple[Handover, ...]] = {}
        if self._db.first("SELECT 1 FROM handovers LIMIT 1") is not None:  # most runs have none
            for name, *row in self._db.rows(_BEHIND, (number,)):
                found[name] = (*found.get(name, ()), Handover(*row))
        return found
