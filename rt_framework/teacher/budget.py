"""The money of a run, in whole nano-dollars: what an attempt can cost is taken before it is sent."""

from __future__ import annotations

import asyncio
import math
from fractions import Fraction

from attrs import evolve

from rt_framework.errors import BudgetReached, ConfigError, TeacherError
from rt_framework.model import Reply, Request, Usage
from rt_framework.protocols import PricedTeacher

_NEAR = 32
"""Attempts of which a budget that has room for no more is nearly reached, at a provider that charges too much."""

_MOST_TOKENS, _MOST_COST, _MOST_OVERRUN = 10**12, 10**15, 1e6
"""Most that is believed of one answer: tokens, nano-dollars (a million dollars), and times its price."""


class Budget:
    """What a run may still spend.

    A provider may charge for more than it was asked for, which shows with its first answer. So that one is waited for
    alone, later attempts reserve as many times their price as any has cost, and near the limit they go one by one.

    Args:
        dollars: most that may be spent by all runs of the directory; ``None`` for no limit.
        spent: nano-dollars that earlier runs paid or perhaps paid.
        overrun: how many times its price an attempt of the directory has cost at most; 0 before the first answer.
    """

    def __init__(self, dollars: float | None, spent: int, overrun: float = 0.0) -> None:
        self.most = None if dollars is None else math.floor(Fraction(str(dollars)) * 10**9)
        """Nano-dollars that may be spent, if there is a limit."""
        self.spent = spent
        """Nano-dollars paid, or perhaps paid."""
        self.reserved = 0
        """Nano-dollars that the attempts under way can cost."""
        self.waiting = 0
        """Attempts that wait until others turn out cheaper than they could have been."""
        self.overrun = overrun
        """How many times its price an attempt has cost, at least 1; 0 while none has been answered."""
        self._open = 0
        self._freed = asyncio.Event()

    async def reserve(self, price: int, batched: bool = False) -> int:
        """Take the *price* of an attempt, in nano-dollars, or as many times of it as attempts have cost.

        Attempts cost less than they reserve: only when none is under way is the budget really reached.

        Args:
            price: most that it can cost if the provider does as it is asked.
            batched: whether it waits for others to be submitted with; then it cannot go alone.

        Returns:
            what was taken.

        Raises:
            BudgetReached: it is.
        """
        asked = price
        while True:
            price = min(math.ceil(asked * max(self.overrun, 1.0)), _MOST_COST)
            if not self._open or (self._affords(price) and (batched or not self._alone(price))):
                break
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
        return price

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

    def answered(self, asked: int, cost: int) -> bool:
        """Learn from an answer what answers cost; whether that is more than was known.

        Called before :meth:`settle`, so that what waits there already knows.

        Args:
            asked: the price of the attempt, in nano-dollars, as it was asked for.
            cost: what the answer cost.
        """
        before = max(self.overrun, 1.0)
        self.overrun = max(before, min(cost / asked, _MOST_OVERRUN) if asked else 1.0)
        return self.overrun > before

    def _alone(self, price: int) -> bool:
        """Whether an attempt has to wait for those under way, since what they will have cost may surprise."""
        if self.most is None or price == 0 or self.overrun == 1.0:
            return False
        return self.overrun == 0 or self.spent + self.reserved + _NEAR * price > self.most

    def _affords(self, price: int) -> bool:
        return self.most is None or self.spent + self.reserved + price <= self.most


def price_of(teacher: object, request: Request) -> int | None:
    """Most that one attempt at *request* can cost, in nano-dollars; ``None`` when the price is not known."""
    if not isinstance(teacher, PricedTeacher):
        return None
    return teacher.cost(request.most_prompt_tokens, request.sampling.max_tokens)


def charged(error: TeacherError, price: int) -> int:
    """What a failed attempt is charged for, in nano-dollars: nothing only where the provider surely bills nothing.

    Args:
        error: how it failed.
        price: what the attempt reserved.
    """
    told = error.nano_dollars if _counts(error.nano_dollars) else 0
    return 0 if error.billed == "no" else min(max(price, told), _MOST_COST)


def believable(reply: Reply, price: int) -> int:
    """What an answer says of the cost of the next one: absurd words of a provider are no measure of it.

    Args:
        reply: the answer.
        price: what its attempt reserved.
    """
    return min(reply.nano_dollars, price) if reply.note else reply.nano_dollars


def bounded(reply: object, price: int) -> Reply:
    """What a teacher gives back, as the ledger can hold it: whole numbers from 0, in bounds, and texts.

    Args:
        reply: of any teacher, which may be wrong about anything but that there was an answer.
        price: what the attempt reserved; it is charged where the reply has no usable cost.

    Raises:
        TeacherError: it is no reply, or has no text.
    """
    text: object = getattr(reply, "text", None)
    if not isinstance(reply, Reply) or not isinstance(text, str):
        found = f"{type(reply).__name__} with a text of the type {type(text).__name__}"
        raise TeacherError("plugin_bug", f"the teacher gave back no Reply with a text, but a {found}")
    cost, usage, note = reply.nano_dollars, reply.usage, str(reply.note)
    if not _counts(cost) or cost > _MOST_COST:
        cost, note = price, f"{note}; no usable cost was told" if note else "no usable cost was told"
    tokens = (getattr(usage, "prompt_tokens", 0), getattr(usage, "completion_tokens", 0))
    counts = [min(count, _MOST_TOKENS) if _counts(count) else 0 for count in tokens]
    texts = {name: str(getattr(reply, name)) for name in ("finish_reason", "model")}
    return evolve(reply, nano_dollars=cost, usage=Usage(*counts), note=note, **texts)


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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
