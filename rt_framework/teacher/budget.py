"""The money of a run, in whole nano-dollars: the most that an attempt can cost is reserved before it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import astuple, evolve, fields

from rt_framework.errors import BudgetReached, ConfigError, TeacherError
from rt_framework.model import Charge, Reply, Request, Usage
from rt_framework.protocols import PricedTeacher
from rt_framework.teacher.purse import Purse
from rt_framework.teacher.reasoning import most_answer_tokens

_NEAR = 32
"""Number of attempts: a budget with room for no more than these is nearly reached, and attempts go one at a time.

Used only for a provider that has charged more than the price."""

_MOST_TOKENS, _MOST_COST, _MOST_OVERRUN = 10**12, 10**15, 1e6
"""Largest believable values of one answer: tokens, cost in nano-dollars (a million dollars), cost over price."""


class Budget:
    """The budget of one teacher: its own purse, and the purse that it shares with other teachers, if there are others.

    A provider may charge for more tokens than were asked for, which its first answer shows. So the first attempt is
    sent alone. Later attempts reserve their price times the largest ratio of cost to price so far, and if that ratio
    is above 1, attempts near the limit go one at a time.

    Args:
        purses: the purses that every attempt draws on: the teacher's own one, then the joint one of all teachers.
        overrun: largest ratio of cost to price of any attempt of the run directory; 0 before the first answer.
        name: name of the teacher in the config; empty for the main teacher.
    """

    def __init__(self, *purses: Purse, overrun: float = 0.0, name: str = "") -> None:
        self.waiting = 0
        """Number of attempts that wait for attempts under way to free part of their reservation."""
        self.overrun = overrun
        """Largest ratio of cost to price of any attempt, at least 1; 0 before the first answer."""
        self.name = name
        self._purses = purses

    @property
    def own(self) -> Purse:
        """The teacher's own purse."""
        return self._purses[0]

    async def reserve(self, price: int, batched: bool = False) -> int:
        """Reserve the *price* of an attempt, in nano-dollars, times :attr:`overrun` where that is above 1.

        Attempts usually cost less than they reserve, so this waits for attempts under way to be settled. The budget is
        reached only when none is under way and the reservation still does not fit.

        Args:
            price: most that the attempt can cost if the provider keeps to the request.
            batched: True if the attempt waits to be submitted together with others; then it cannot go alone.

        Returns:
            the nano-dollars that were reserved.

        Raises:
            BudgetReached: a limit has no room for the attempt.
        """
        full_price = price
        while True:
            # Computed again after each wait, because an answer in the meantime may have raised the ratio.
            price = min(math.ceil(full_price * max(self.overrun, 1.0)), _MOST_COST)
            full = next((purse for purse in self._purses if not purse.affords(price)), None)
            if full is not None and not full.under_way:
                # With nothing under way no reservation can be freed, so waiting would never end.
                raise _reached(full, price)
            if full is None and (batched or not self.own.under_way or not self._alone(price)):
                break
            # Every attempt draws on the last purse, so none is settled without being noticed there.
            freed = self._purses[-1].freed
            freed.clear()
            self.waiting += 1
            try:
                await freed.wait()
            finally:
                self.waiting -= 1
        for purse in self._purses:
            purse.reserve(price)
        return price

    def take_over(self, price: int) -> None:
        """Count an attempt of an earlier run as under way, and move its *price* from spent to reserved."""
        for purse in self._purses:
            purse.reserve(price)
            # The ledger counts the reservation of an open attempt as spent; otherwise it would be counted twice.
            purse.spent -= price

    def settle(self, price: int, cost: int) -> None:
        """Replace the reservation *price* of an attempt by its real *cost*, both in nano-dollars."""
        for purse in self._purses:
            purse.settle(price, cost)

    def answered(self, price: int, cost: int) -> bool:
        """Update :attr:`overrun` from an answer, and return whether it rose above both 1 and its earlier value.

        Call this before :meth:`settle`, so that the attempts that :meth:`settle` wakes see the new ratio.

        Args:
            price: price of the attempt, in nano-dollars, before it was multiplied by :attr:`overrun`.
            cost: cost of the answer, in nano-dollars.
        """
        # At least 1, because the reservation must cover the full price even if every answer so far was cheaper.
        before = max(self.overrun, 1.0)
        self.overrun = max(before, min(cost / price, _MOST_OVERRUN) if price else 1.0)
        return self.overrun > before

    def _alone(self, price: int) -> bool:
        """Return whether an attempt has to wait for those under way, because they may cost more than they reserved."""
        limited = [purse for purse in self._purses if purse.most is not None]
        if not limited or price == 0 or self.overrun == 1.0:
            return False
        return self.overrun == 0 or any(not purse.affords(_NEAR * price) for purse in limited)


def _reached(purse: Purse, price: int) -> BudgetReached:
    assert purse.most is not None
    return BudgetReached(
        f"the next call could cost ${price / 1e9:.4f}, more than what is left of the budget of "
        f"${purse.most / 1e9:g} (${purse.spent / 1e9:.4f} spent); "
        f"to continue, run again with a larger {purse.setting}"
    )


def price_of(teacher: object, request: Request) -> int | None:
    """Return the most that one attempt at *request* can cost, in nano-dollars; ``None`` if the price is not known."""
    # Each attempt asks, and protocols take long to check.
    cost: Callable[[int, int], int | None] | None = getattr(teacher, "cost", None)
    if cost is None:
        return None
    return cost(request.most_prompt_tokens, most_answer_tokens(teacher, request))


def charged(error: TeacherError, price: int) -> int:
    """Return the nano-dollars charged for a failed attempt: 0 only where the provider certainly bills nothing.

    Args:
        error: failure of the attempt.
        price: nano-dollars that the attempt reserved.
    """
    # A doubtful attempt is charged in full, because a budget that counted too little could be exceeded unnoticed.
    reported = error.nano_dollars if _counts(error.nano_dollars) else 0
    return 0 if error.billed == "no" else min(max(price, reported), _MOST_COST)


def believable(reply: Reply, price: int) -> int:
    """Return the cost of an answer in nano-dollars, limited to an amount that later answers may plausibly cost.

    The cost of a reply with a note is capped at *price*, so that an absurd figure of the provider cannot raise the
    reservations of all later attempts.

    Args:
        reply: the answer.
        price: nano-dollars that its attempt reserved.
    """
    return min(reply.nano_dollars, price) if reply.note else reply.nano_dollars


def bounded(reply: object, price: int) -> Reply:
    """Return a teacher's reply in a form that the ledger can hold: texts, and whole numbers from 0 to fixed limits.

    Args:
        reply: return value of any teacher plugin; every field but its text may be wrong.
        price: nano-dollars that the attempt reserved. They are charged if the reply has no usable cost.

    Raises:
        TeacherError: *reply* is not a :class:`Reply`, or has no text.
    """
    text: object = getattr(reply, "text", None)
    if not isinstance(reply, Reply) or not isinstance(text, str):
        described = f"{type(reply).__name__} with a text of the type {type(text).__name__}"
        raise TeacherError("plugin_bug", f"the teacher must return a Reply with a text, but it returned a {described}")
    cost, usage, note = reply.nano_dollars, reply.usage, str(reply.note)
    # Without a usable cost the whole reservation is charged, because a charge of 0 could let the budget be exceeded.
    if not _counts(cost) or cost > _MOST_COST:
        cost, note = price, f"{note}; no usable cost was reported" if note else "no usable cost was reported"
    texts = {name: str(getattr(reply, name)) for name in ("finish_reason", "model")}
    reasoning = reply.reasoning if isinstance(reply.reasoning, str) else None
    used, charge = _bounded_usage(usage), _consistent(reply.charge, cost)
    return evolve(reply, nano_dollars=cost, usage=used, note=note, charge=charge, reasoning=reasoning, **texts)


def _bounded_usage(usage: object) -> Usage:
    """Return counts that the ledger can hold, parts no larger than their wholes."""
    names = [one.name for one in fields(Usage)]
    counts = {name: getattr(usage, name, 0) for name in names}
    whole = {name: min(count, _MOST_TOKENS) if _counts(count) else 0 for name, count in counts.items()}
    cached = min(whole["cached_tokens"], whole["prompt_tokens"])
    written = min(whole["cache_write_tokens"], whole["prompt_tokens"] - cached)
    reasoning = min(whole["reasoning_tokens"], whole["completion_tokens"])
    return Usage(whole["prompt_tokens"], whole["completion_tokens"], cached, written, reasoning)


def _consistent(charge: object, cost: int) -> Charge | None:
    """Return the parts of a cost if they are whole numbers that add up to it, else ``None``."""
    if type(charge) is not Charge:
        return None
    *parts, cache_saving, batch_saving = astuple(charge)
    saved = [type(saving) is int and abs(saving) <= _MOST_COST for saving in (cache_saving, batch_saving)]
    return charge if all(map(_counts, parts)) and sum(parts) == cost and all(saved) else None


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_priced(teacher: object) -> bool:
    """Return whether a teacher knows its price."""
    return isinstance(teacher, PricedTeacher) and teacher.cost(1, 1) is not None


def check_priced(teacher: object, identity: str, dollars: float | None, setting: str = "limits.budget_usd") -> None:
    """Check, before anything is sent, that a run with a budget has a teacher with a known price.

    Raises:
        ConfigError: the run has a budget and the price is not known.
    """
    if dollars is not None and not is_priced(teacher):
        raise ConfigError(
            f"{setting} is set but the price of teacher '{identity}' is not known; "
            "give input_price and output_price in the teacher's settings, or leave the budget out"
        )
