"""A purse: an amount of money with or without a limit, on which the attempts of one or several teachers draw."""

from __future__ import annotations

import asyncio
import math
from fractions import Fraction


class Purse:
    """Money that was spent or is reserved, in whole nano-dollars, and the limit of both together.

    Args:
        dollars: limit for all runs of the run directory together; ``None`` for no limit.
        spent: nano-dollars that earlier runs paid or perhaps paid.
        setting: name of the setting that holds the limit, for the message that it is reached.
    """

    def __init__(self, dollars: float | None, spent: int, setting: str = "limits.budget_usd") -> None:
        # Computed from the decimal text, because a float product could round to above the limit that the user wrote.
        self.most = None if dollars is None else math.floor(Fraction(str(dollars)) * 10**9)
        """Limit in nano-dollars; ``None`` for no limit."""
        self.spent = spent
        """Nano-dollars that were paid or perhaps paid."""
        self.reserved = 0
        """Nano-dollars reserved for the attempts under way."""
        self.under_way = 0
        """Number of attempts that have money reserved."""
        self.freed = asyncio.Event()
        """Set when an attempt is settled."""
        self.setting = setting

    def affords(self, price: int) -> bool:
        """Return whether the limit has room for an attempt of that *price*."""
        return self.most is None or self.spent + self.reserved + price <= self.most

    def reserve(self, price: int) -> None:
        """Reserve the *price* of an attempt."""
        self.under_way += 1
        self.reserved += price

    def settle(self, price: int, cost: int) -> None:
        """Replace a reservation by the real cost of its attempt."""
        self.under_way -= 1
        self.reserved -= price
        self.spent += cost
        self.freed.set()
