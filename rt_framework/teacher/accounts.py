"""The accounts of several teachers that one run asks: the counts and the money of each, and their sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attrs import fields

from rt_framework.config import MAIN_TEACHER
from rt_framework.events import Money, TeacherAccount, TeacherCounts
from rt_framework.teacher.purse import Purse
from rt_framework.teacher.sending import Sending


class Accounts:
    """The accounts of the teachers of one run.

    Args:
        sendings: the questions on their way to each teacher, by its name in the config; empty for the main teacher.
        joint: the purse that all of them draw on.
    """

    def __init__(self, sendings: Mapping[str, Sending], joint: Purse) -> None:
        self._sendings = sendings
        self._joint = joint

    def accounts(self) -> tuple[TeacherAccount, ...]:
        """Return the account of each teacher."""
        return tuple(
            TeacherAccount(name or MAIN_TEACHER, sending.counts(), sending.money())
            for name, sending in self._sendings.items()
        )

    def counts(self) -> TeacherCounts:
        """Return the sums of all counts, and why each teacher is slowed down."""
        accounts = self.accounts()
        throttled = (f"{one.name}: {one.counts.throttled}" for one in accounts if one.counts.throttled)
        names = [field.name for field in fields(TeacherCounts) if field.name not in {"throttled", "to_fallback"}]
        sums = {name: sum(getattr(one.counts, name) for one in accounts) for name in names}
        handed = Counter(kind for one in accounts for kind in Counter(one.counts.to_fallback).elements())
        return TeacherCounts(**sums, throttled=", ".join(throttled), to_fallback=dict(handed))

    def money(self) -> Money:
        """Return the amounts of all teachers together, with their joint budget."""
        amounts = [one.money for one in self.accounts()]
        return Money(
            paid=sum(one.paid for one in amounts),
            spent=self._joint.spent,
            reserved=self._joint.reserved,
            budget=self._joint.most,
            priced=all(one.priced for one in amounts),
            saved=sum(one.saved for one in amounts),
        )

    def reused_at(self, stage: str) -> int:
        """Return the number of answers that a stage got from the ledger."""
        return sum(sending.reused_at(stage) for sending in self._sendings.values())

    def why(self) -> str:
        """Return a description of the calls or batches that are being waited for, by teacher; empty if none are."""
        told = ((name or MAIN_TEACHER, sending.why()) for name, sending in self._sendings.items())
        return "; ".join(f"{name}: {why}" for name, why in told if why)
