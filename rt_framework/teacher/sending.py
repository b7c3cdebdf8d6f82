"""Questions on their way to the teacher: one flight for equal questions, the choice of the sender, the retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from attrs import frozen

from rt_framework.concurrency import StopSignal, backoff
from rt_framework.config import Limits
from rt_framework.errors import Retry, RtError, TeacherError, fatal, too_long_a_pause
from rt_framework.events import Money, RunStopping, TeacherAccount, TeacherCounts
from rt_framework.ledger import Ledger
from rt_framework.model import Reply, Request
from rt_framework.plugin import Reporters
from rt_framework.protocols import BatchApiTeacher, LocalTeacher, Teacher
from rt_framework.teacher.attempts import Attempts
from rt_framework.teacher.budget import Budget
from rt_framework.teacher.counts import TeacherCounter
from rt_framework.teacher.pauses import Pauses
from rt_framework.teacher.provider_batches import ProviderBatchSender
from rt_framework.teacher.senders import LiveSender, LocalSender, Sender
from rt_framework.text import number_of


@frozen
class Answer:
    """An answer and its key in the ledger, or the error if there is none."""

    key: str
    reply: Reply | None
    error: TeacherError | None = None


class Sending:
    """The questions of one run that the ledger cannot answer, on their way to the teacher.

    Args:
        teacher: plugin that answers single requests, or batches of them.
        ledger: store of all answers.
        limits: concurrency, attempts and deadline.
        budget: money of the teacher.
        reporters: receive the events of batches, and of calls that the end of the run waits for.
        stop: stop signal, after which nothing more is sent.
        busy: returns whether the run may soon ask more questions without a further answer of the teacher.
    """

    def __init__(
        self,
        teacher: Teacher | LocalTeacher,
        ledger: Ledger,
        limits: Limits,
        budget: Budget,
        reporters: Reporters,
        stop: StopSignal,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.counter = TeacherCounter()
        self._attempts = Attempts(teacher, ledger, budget, self.counter, stop)
        self._direct: LiveSender | LocalSender
        if isinstance(teacher, LocalTeacher):
            self._direct = LocalSender(teacher, self._attempts, limits, stop)
        else:
            self._direct = LiveSender(teacher, self._attempts, limits, stop)
        self._batches: ProviderBatchSender | None = None
        if isinstance(teacher, BatchApiTeacher):
            self._batches = ProviderBatchSender(teacher, self._attempts, reporters, stop, busy)
        self._most_attempts = limits.attempts
        self._reporters = reporters
        self._pauses = Pauses(stop)
        self._flights: dict[str, asyncio.Task[Answer]] = {}

    async def answer(self, key: str, request: Request, first: bool) -> Answer:
        """Return the provider's answer to a question; callers with the same question share one call.

        Raises:
            RtError: nothing more can be sent.
        """
        if key not in self._flights:
            self._flights[key] = asyncio.create_task(self._pay(key, request, first))
            self._flights[key].add_done_callback(partial(self._landed, key))
        # Shielded: if one caller is cancelled, the call goes on for the others and is committed to the ledger.
        return await asyncio.shield(self._flights[key])

    async def close(self) -> None:
        """Wait for the calls under way, since they may already be billed, and send nothing more."""
        self._pauses.stop.trip(RtError("the run ended"))
        under_way = self._direct.limiter.under_way
        left = self._batches.left if self._batches is not None else 0
        if under_way or left:
            self._reporters.send("rt_run_stopping", RunStopping(str(self._pauses.stop.error), under_way, left))
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        if self._batches is not None:
            await self._batches.close()
        await self._direct.close()

    def _landed(self, key: str, flight: asyncio.Task[Answer]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # marks it as retrieved, since every waiter may have been cancelled

    async def _pay(self, key: str, request: Request, first: bool) -> Answer:
        attempt = 0
        while True:
            try:
                reply = await self._sender(key).reply(key, request, retry=not first or attempt > 0)
                self._check_answers_come()
                return Answer(key, reply)
            except TeacherError as error:
                attempt += 1
                if error.kind.fatal or too_long_a_pause(error):
                    self._pauses.stop.trip(fatal(error))
                    self._pauses.stop.check()
                if error.kind.retry is not Retry.RESEND or attempt >= self._most_attempts:
                    return Answer(key, None, error)
                await self._pauses.rest(key, error, backoff(attempt, error.retry_after))
            except RtError as error:
                self._pauses.stop.trip(error)
                raise

    def _check_answers_come(self) -> None:
        """Stop sending if the teacher's answers have no text. The answer that showed it stays usable."""
        try:
            self._attempts.check_answers_come()
        except RtError as error:
            self._pauses.stop.trip(error)

    def _sender(self, key: str) -> Sender:
        return self._batches if self._batches is not None and self._batches.takes(key) else self._direct

    # --- progress ---------------------------------------------------------------------------

    def counts(self) -> TeacherCounts:
        """Return the counts of calls and answers."""
        counter, limiter, budget = self.counter, self._direct.limiter, self._attempts.budget
        waits = ""
        if budget.waiting:
            verb = "waits" if budget.waiting == 1 else "wait"
            waits = f"{number_of(budget.waiting, 'call')} {verb} for budget that other calls have reserved"
        dearer = f"answers cost up to {budget.overrun:.1f} times their price: the provider ignores max_tokens"
        return TeacherCounts(
            calls=counter.calls,
            retries=counter.retries,
            answered=counter.answered,
            reused=counter.reused.total(),
            tokens=counter.tokens["all"],
            reasoning_tokens=counter.tokens["reasoning"],
            to_fallback=dict(counter.to_fallback),
            under_way=max(limiter.under_way - budget.waiting, 0),
            at_once=limiter.at_once,
            throttled=", ".join(filter(None, (limiter.throttled(), waits, dearer if budget.overrun > 1 else ""))),
        )

    def money(self) -> Money:
        """Return the amounts of the budget."""
        purse = self._attempts.budget.own
        paid, priced = self.counter.money, self._attempts.priced
        return Money(paid["paid"], purse.spent, purse.reserved, purse.most, priced=priced, saved=paid["saved"])

    def accounts(self) -> tuple[TeacherAccount, ...]:
        """Return no accounts, since a single teacher's are those of the run."""
        return ()

    @property
    def calling(self) -> bool:
        """True while single calls are under way, whose answers come soon."""
        return self._direct.limiter.under_way > 0

    def reused_at(self, stage: str) -> int:
        """Return the number of answers that a stage got from the ledger."""
        return self.counter.reused[stage]

    def why(self) -> str:
        """Return a description of the answers or batches that are being waited for; empty if there are none."""
        batches = "" if self._batches is None else self._batches.why()
        now = self.counts()
        calls = f"waiting for {number_of(now.under_way, 'answer')} of the teacher" if now.under_way else ""
        return batches or ", ".join(filter(None, (calls, now.throttled or self._pauses.why())))
