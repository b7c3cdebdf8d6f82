"""The money of a run, in whole nano-dollars: what an attempt can cost is taken before it is sent."""

from __future__ import annotations

import asyncio
import math
from fractions import Fraction

from rt_framework.errors import BudgetReached, ConfigError
from rt_framework.model import Request
from rt_framework.protocols import PricedTeacher


class Budget:
    """What a run may still spend.

    Args:
        dollars: most that may be spent by all runs of the directory; ``None`` for no limit.
        spent: nano-dollars that earlier runs paid or perhaps paid.
    """

    def __init__(self, dollars: float | None, spent: int) -> None:
        self.most = None if dollars is None else math.floor(Fraction(str(dollars)) * 10**9)
        """Nano-dollars that may be spent, if there is a limit."""
        self.spent = spent
        """Nano-dollars paid, or perhaps paid."""
        self.reserved = 0
        """Nano-dollars that the attempts under way can cost."""
        self.waiting = 0
        """Attempts that wait until others turn out cheaper than they could have been."""
        self._open = 0
        self._freed = asyncio.Event()

    async def reserve(self, price: int) -> None:
        """Take *price* nano-dollars.

        Attempts cost less than they reserve: only when none is under way is the budget really reached.

        Raises:
            BudgetReached: it is.
        """
        while self._open and not self._affords(price):
            self._freed.clear()
            self.waiting += 1
            try:
                await self._freed.wait()
            finally:
                self.waiting -= 1
        if not self._affords(price):
            assert self.most is not None
            raise BudgetReached(
                f"the next call could cost ${price / 1e9:.4f}, more than what is left of the budget of "
                f"${self.most / 1e9:g} (${self.spent / 1e9:.4f} spent); "
                "run again with a larger limits.budget_usd to go on"
            )
        self._open += 1
        self.reserved += price

    def take_over(self, price: int) -> None:
        """Count an attempt of an earlier run, whose *price* was taken for spent, as under way."""
        self._open += 1
        self.reserved += price
        self.spent -= price

    def settle(self, price: int, cost: int) -> None:
        """Put what an attempt cost in place of what it had reserved."""
        self._open -= 1
        self.reserved -= price
        self.spent += cost
        self._freed.set()

    def _affords(self, price: int) -> bool:
        return self.most is None or self.spent + self.reserved + price <= self.most


def price_of(teacher: object, request: Request) -> int | None:
    """Most that one attempt at *request* can cost, in nano-dollars; ``None`` when the price is not known."""
    if not isinstance(teacher, PricedTeacher):
        return None
    return teacher.cost(request.most_prompt_tokens, request.sampling.max_tokens)


def is_priced(teacher: object) -> bool:
    """Whether a teacher knows what it costs."""
    return isinstance(teacher, PricedTeacher) and teacher.cost(1, 1) is not None


def check_priced(teacher: object, identity: str, dollars: float | None) -> None:
    """Whether a run with a budget knows what its calls cost; asked before anything is sent.

    Raises:
        ConfigError: it does not.
    """
    if dollars is not None and not is_priced(teacher):
        raise ConfigError(
            f"limits.budget_usd is set but the price of teacher '{identity}' is not known; "
            "give input_price and output_price in the teacher's settings, or leave the budget out"
        )
