"""Queries over the money in a ledger."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import fields, frozen

from rt_framework.ledger.database import Database
from rt_framework.ledger.key_index import PAIRS, row_of
from rt_framework.model import Charge, Usage

# An open attempt counts with its reservation, because it may be billed up to that amount.
COST = "TOTAL(CASE state WHEN 'intent' THEN reserved ELSE cost END)"

# The tokens of an answer that was copied from another run directory were paid for there.
_SUM_OF = "TOTAL(CASE WHEN kind IS NOT 'copied' THEN json_extract(reply, '$.{}') END)"
_USED = [_SUM_OF.format(f"usage.{one.name}") for one in fields(Usage)]
_CHARGED = [_SUM_OF.format(f"charge.{one.name}") for one in fields(Charge)]


@frozen
class Bill:
    """The calls, requests, tokens and cost of one reflection at one teacher."""

    reflection: str
    """Name of the reflection that asked."""
    teacher: str
    """Identity of the teacher."""
    calls: int
    """Number of different questions."""
    requests: int
    """Number of attempts that were sent for them."""
    answered: int
    """Number of attempts that an answer came to, usable or not."""
    nano_dollars: int
    """Billionths of a dollar that were paid, or perhaps paid."""
    usage: Usage
    """Tokens of the answers that were paid for here."""
    charge: Charge
    """Parts of the cost, as far as they are known."""

    @property
    def rest(self) -> int:
        """The nano-dollars whose parts are not known: of teachers that tell none, and of attempts without an answer."""
        return self.nano_dollars - self.charge.total


@frozen
class Cost:
    """The money that a run directory has cost so far, in all of its runs."""

    nano_dollars: int
    """Billionths of a dollar that were paid, or perhaps paid."""
    priced: bool
    """False if the teacher has no known price, so that the sum is too low."""
    bills: tuple[Bill, ...]
    """Calls, tokens and cost of each reflection, by name."""
    doubtful: int
    """Number of questions that were under way when a run was killed: they may have been billed without an answer."""

    @property
    def dollars(self) -> float:
        """The same sum in dollars."""
        return self.nano_dollars / 1e9

    @property
    def saved(self) -> int:
        """Nano-dollars by which the answers would be dearer without the provider's caches and batches."""
        return sum(bill.charge.saved for bill in self.bills)


class Costs:
    """The money in one ledger, in nano-dollars: what was paid, perhaps paid, or is reserved."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def spent(self, teacher: str | None = None) -> int:
        """Return the cost of all attempts, or of those at one teacher, given by its identity."""
        if teacher is None:
            return int(self._db.first(f"SELECT {COST} FROM attempts")[0])  # noqa: S608 - fixed text
        sql = f"SELECT {COST} FROM attempts JOIN calls ON call = number WHERE teacher = ?"  # noqa: S608 - fixed text
        return int(self._db.first(sql, (teacher,))[0])

    def about(self, pairs: Iterable[str]) -> int:
        """Return the cost of all calls about *pairs*, given by hash."""
        sql = f"SELECT {COST} FROM attempts WHERE call IN ({row_of(PAIRS, '?1')})"  # noqa: S608 - fixed text
        # A pair that is given twice had its calls paid for once.
        return sum(int(self._db.first(sql, (pair,))[0]) for pair in set(pairs))

    def largest_reservation(self) -> int:
        """Return the largest reservation of an attempt so far."""
        return self._db.first("SELECT MAX(reserved) FROM attempts")[0] or 0

    def bills(self) -> list[Bill]:
        """Return the bill of each reflection at each teacher, by their names."""
        sql = (
            "SELECT reflection, teacher, COUNT(DISTINCT number), SUM(kind IS NOT 'copied'), "  # noqa: S608 - fixed text
            f"SUM(state = 'answered'), {COST}, {', '.join([*_USED, *_CHARGED])} "
            "FROM calls JOIN attempts ON call = number GROUP BY reflection, teacher ORDER BY reflection, teacher"
        )
        return [_bill(*row[:2], *map(int, row[2:])) for row in self._db.rows(sql)]


def _bill(reflection: str, teacher: str, calls: int, requests: int, answered: int, cost: int, *sums: int) -> Bill:
    used, charged = sums[: len(_USED)], sums[len(_USED) :]
    return Bill(reflection, teacher, calls, requests, answered, cost, Usage(*used), Charge(*charged))
