"""The rule of every paid attempt, written once: reserve the money, commit the intent, send, commit the end, settle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rt_framework.concurrency import StopSignal
from rt_framework.errors import TeacherError
from rt_framework.ledger import Ledger, OpenQuestion
from rt_framework.model import Reply, Request
from rt_framework.protocols import LocalTeacher, Teacher
from rt_framework.teacher.budget import Budget, believable, bounded, charged, check_priced, is_priced, price_of
from rt_framework.teacher.counts import TeacherCounter
from rt_framework.teacher.purse import Purse
from rt_framework.teacher.reasoning import check_answers_come


def budget_of(
    teacher: Teacher | LocalTeacher, ledger: Ledger, dollars: float | None, joint: Purse | None = None, name: str = ""
) -> Budget:
    """Return the budget of one teacher, with what its earlier runs spent.

    Args:
        teacher: the teacher.
        ledger: knows what was spent, and how much answers cost compared with their price.
        dollars: limit of this teacher's cost in all runs together; ``None`` for no limit.
        joint: the purse that all teachers of the run draw on; left out where there is only one teacher.
        name: name of the teacher in the config; empty for the main teacher.

    Raises:
        ConfigError: the teacher or all teachers have a limit, and the teacher's price is not known.
    """
    setting = f"teachers.{name}.budget_usd" if name else "limits.budget_usd" if joint is None else "teacher.budget_usd"
    check_priced(teacher, teacher.identity, dollars, setting)
    if joint is None:
        return Budget(Purse(dollars, ledger.costs.spent()), overrun=ledger.meta(overrun_key("")) or 0.0)
    if joint.most is not None:
        check_priced(teacher, teacher.identity, joint.most / 1e9, joint.setting)
    own = Purse(dollars, ledger.costs.spent(teacher.identity), setting)
    return Budget(own, joint, overrun=ledger.meta(overrun_key(name)) or 0.0, name=name)


def overrun_key(name: str) -> str:
    """Return the key of the ledger's note of the largest ratio of cost to price of any answer of a teacher."""
    return f"overrun {name}" if name else "overrun"


class Attempts:
    """The paid attempts of one run.

    Args:
        teacher: plugin that is asked.
        ledger: store of intents and answers.
        budget: budget of the run.
        counter: counters of the run's calls.
        stop: stop signal, after which nothing more is sent.
    """

    def __init__(
        self,
        teacher: Teacher | LocalTeacher,
        ledger: Ledger,
        budget: Budget,
        counter: TeacherCounter,
        stop: StopSignal,
    ) -> None:
        self.identity = teacher.identity
        self.ledger = ledger
        self.budget = budget
        self.counter = counter
        self.priced = is_priced(teacher)
        """True if the teacher's price is known."""
        self._teacher = teacher
        self._stop = stop

    def price(self, request: Request) -> int:
        """Return the most that one attempt can cost, in nano-dollars; 0 if the price is not known."""
        return price_of(self._teacher, request) or 0

    def check_answers_come(self) -> None:
        """Check that answers have text.

        Raises:
            FatalTeacherError: reasoning took up several answers, and at least half of all so far.
        """
        check_answers_come(self.counter, self._teacher)

    @asynccontextmanager
    async def one(self, key: str, request: Request, retry: bool) -> AsyncIterator[Attempt]:
        """Reserve the money of an attempt and commit its intent; the attempt is sent inside the block, and settled.

        Args:
            key: key of the call.
            request: the question.
            retry: True if it was asked before.

        Raises:
            BudgetReached: the budget has no room for the attempt.
            RtError: sending was stopped meanwhile.
        """
        reserved = await self.budget.reserve(self.price(request))
        cost = 0  # nothing is owed until the intent is committed, because only then is anything sent
        try:
            self._stop.check()  # the run may have ended during the wait for the budget
            number = await self.ledger.attempts.intend(key, self.identity, request, reserved)
            attempt = Attempt(self, OpenQuestion(number, key, request, reserved))
            cost = reserved
            self.counter.sent(1, retry)
            try:
                yield attempt
            finally:
                cost = attempt.cost
        finally:
            self.budget.settle(reserved, cost)


class Attempt:
    """One attempt whose intent is committed."""

    def __init__(self, attempts: Attempts, question: OpenQuestion) -> None:
        self._attempts = attempts
        self._question = question
        # A request that is cut off while it is sent may have been billed, so all of it is owed until the end is known.
        self.cost = question.reserved
        """Nano-dollars that the attempt costs: the whole reservation until its end is known."""

    async def end(self, outcome: object) -> Reply:
        """Commit the end of the attempt, and return the reply in a form that the ledger holds.

        Args:
            outcome: the teacher's reply, or a :class:`TeacherError`.

        Raises:
            TeacherError: the attempt failed, or the teacher's reply is none.
        """
        question, attempts = self._question, self._attempts
        try:
            if isinstance(outcome, TeacherError):
                raise outcome
            reply = bounded(outcome, question.reserved)
        except TeacherError as error:
            self.cost = charged(error, question.reserved)
            await attempts.ledger.attempts.failed(question.attempt, error, self.cost)
            raise
        self.cost = reply.nano_dollars
        # Committed before anyone gets it, so that no answer is used that a crash could lose.
        await attempts.ledger.attempts.answered(question.attempt, reply)
        attempts.counter.received(reply)
        # The budget learns before the attempt is settled, so that attempts that wait for its money reserve enough; and
        # the ledger is told, so that a later run reserves enough from its first call.
        if attempts.budget.answered(attempts.price(question.request), believable(reply, question.reserved)):
            await attempts.ledger.set_meta(overrun_key(attempts.budget.name), attempts.budget.overrun)
        return reply
