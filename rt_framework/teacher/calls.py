"""Paid calls to the teacher: each question is paid for once, and nothing that was paid for is lost.

The order of a paid call is: reserve the money, commit the intent, send, commit the raw answer, return it.
The answer is parsed afterwards, in :mod:`rt_framework.teacher.client`, without any access to the network.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from functools import cached_property, partial
from typing import Any

from attrs import evolve, frozen
from cattrs import unstructure

from rt_framework.concurrency import Batcher, StopSignal
from rt_framework.config import Limits
from rt_framework.errors import Retry, RtError, TeacherError, fatal, too_long_a_pause
from rt_framework.events import RunStopping
from rt_framework.ledger import Ledger
from rt_framework.model import Reply, Request, digest
from rt_framework.plugin import Tally, Traffic
from rt_framework.protocols import BatchApiTeacher, LocalTeacher, RereadingTeacher, Teacher
from rt_framework.teacher.budget import Budget, believable, bounded, charged, check_priced, price_of
from rt_framework.teacher.provider_batches import ProviderBatches
from rt_framework.teacher.rate_limit import AdaptiveLimiter

_TOO_MUCH = frozenset({"overloaded", "timeout", "connection"})
"""Kinds of failure that show that the provider has more calls under way than it can handle."""


OVERRUN = "overrun"
"""Key of the ledger's note of the largest ratio of cost to price of any answer."""


@frozen
class Answer:
    """An answer and its key in the ledger, or the error if there is none."""

    key: str
    reply: Reply | None
    error: TeacherError | None = None


class Calls:
    """The teacher calls of one run.

    Args:
        teacher: plugin that answers single requests, or batches of them.
        ledger: store of all answers.
        limits: concurrency, attempts, budget and deadline.
        tally: counters of the run.
        breaker: stop signal, after which nothing more is sent.
        ask: True if requests may be sent; if False, only answers from the ledger are given.

    Raises:
        ConfigError: the run has a budget and the teacher's price is not known.
    """

    def __init__(
        self,
        teacher: Teacher | LocalTeacher,
        ledger: Ledger,
        limits: Limits,
        tally: Tally,
        breaker: StopSignal,
        ask: bool = True,
    ) -> None:
        check_priced(teacher, teacher.identity, limits.budget_usd)
        self._teacher = teacher
        self._ledger = ledger
        self._limits = limits
        self._tally = tally
        self._breaker = breaker
        self._ask = ask
        self._budget = Budget(limits.budget_usd, ledger.costs.spent(), ledger.meta(OVERRUN) or 0.0)
        self._flights: dict[str, asyncio.Task[Answer]] = {}
        self._batcher: Batcher[Request, Reply] | None = None
        self._pace = AdaptiveLimiter(limits.concurrency, breaker)
        if isinstance(teacher, LocalTeacher):
            self._pace = AdaptiveLimiter(max(limits.concurrency, 2 * teacher.batch_size), breaker, steady=True)
            self._batcher = Batcher(self._complete_many, teacher.batch_size)
        tally.traffic = self.traffic
        self._batches: ProviderBatches | None = None
        if isinstance(teacher, BatchApiTeacher):
            self._batches = ProviderBatches(teacher, self._teacher.identity, ledger, self._budget, tally, breaker)

    async def answer(self, request: Request, first: bool, stage: str = "") -> Answer:
        """Return the answer to *request*, from the ledger if it is there, else from the provider.

        Args:
            request: the question.
            first: True if it is the first request for its pair and reflection.
            stage: name of the stage that asks.

        Raises:
            RtError: nothing more can be sent.
        """
        # The ledger is asked before the budget, because an answer that was paid for must never be paid for again.
        key = call_key(self._teacher.identity, request)
        known = self._ledger.calls.reply(key)
        if known is not None:
            self._tally.reused(stage)
            return Answer(key, known)
        if key in self._unread:
            read = await self._reread(key, request)
            if read is not None:
                return Answer(key, read)
        if not self._ask:
            return Answer(key, None, TeacherError("no_answer", "not asked for: 'rt run' asks for what is missing"))
        if key in self._held:
            return Answer(key, None, TeacherError("interrupted_unknown", "held back: it may have been billed already"))
        # Callers with the same question share one call, which is paid for once.
        if key not in self._flights:
            self._flights[key] = asyncio.create_task(self._pay(key, request, first))
            self._flights[key].add_done_callback(partial(self._landed, key))
        # Shielded: if one caller is cancelled, the call goes on for the others and is committed to the ledger.
        return await asyncio.shield(self._flights[key])

    def why(self) -> str:
        """Return a description of the calls or batches that are being waited for."""
        batches = "" if self._batches is None else self._batches.why()
        now = self.traffic()
        calls = f"{now.under_way} calls under way of {now.at_once}"
        return f"teacher: {batches or ', '.join(filter(None, (calls, now.held)))}"

    def traffic(self) -> Traffic:
        """Return the current state of calls and money."""
        budget = self._budget
        waits = f"{budget.waiting} calls wait for what others have reserved of the budget" if budget.waiting else ""
        dearer = f"answers cost up to {budget.overrun:.1f} times their price: the provider ignores max_tokens"
        held = ", ".join(filter(None, (self._pace.held(), waits, dearer if budget.overrun > 1 else "")))
        in_flight = max(self._pace.under_way - budget.waiting, 0)
        return Traffic(in_flight, self._pace.at_once, held, budget.spent, budget.reserved, budget.most)

    async def close(self) -> None:
        """Wait for the calls under way, since they may already be billed, and send nothing more."""
        self._breaker.trip(RtError("the run ended"))
        left = self._batches.left if self._batches is not None else 0
        if self._pace.under_way or left:
            event = RunStopping(str(self._breaker.error), self._pace.under_way, left)
            self._tally.reporters.send("rt_run_stopping", event)
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        if self._batches is not None:
            await self._batches.close()
        if self._batcher is not None:
            await self._batcher.close()
        free = getattr(self._teacher, "aclose", None)
        if free is not None:
            await free()

    def _landed(self, key: str, flight: asyncio.Task[Answer]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # marks it as retrieved, since every waiter may have been cancelled

    @cached_property
    def _held(self) -> frozenset[str]:
        """Keys of doubtful calls that are not asked again.

        They are looked up at the first question, because a run may release some before it.
        """
        return frozenset(self._ledger.calls.doubtful()) if self._limits.on_ambiguous == "hold" else frozenset()

    @cached_property
    def _unread(self) -> frozenset[str]:
        """Keys of calls with answers that were unreadable when they arrived, and may be readable to this release."""
        return self._ledger.calls.unread() if isinstance(self._teacher, RereadingTeacher) else frozenset()

    async def _reread(self, key: str, request: Request) -> Reply | None:
        """Return the first stored answer to a call that can be read now, or ``None``.

        Its cost is the amount that was charged when it arrived, so the budget does not change.
        """
        assert isinstance(self._teacher, RereadingTeacher)
        for attempt, cost, raw in self._ledger.calls.unread_answers(key):
            try:
                reply = evolve(bounded(await self._teacher.reread(request, raw), cost), nano_dollars=cost)
            except TeacherError:
                continue
            await self._ledger.attempts.answered(attempt, key, reply)
            return reply
        return None

    # --- one question -----------------------------------------------------------------------

    async def _pay(self, key: str, request: Request, first: bool) -> Answer:
        attempt = 0
        while True:
            try:
                return Answer(key, await self._attempt(key, request, retry=not first or attempt > 0))
            except TeacherError as error:
                attempt += 1
                if error.kind.fatal or too_long_a_pause(error):
                    self._breaker.trip(fatal(error))
                    self._breaker.check()
                if error.kind.retry is not Retry.RESEND or attempt >= self._limits.attempts:
                    return Answer(key, None, error)
                await self._breaker.sleep(_pause(attempt, error.retry_after))
            except RtError as error:
                self._breaker.trip(error)
                raise

    async def _attempt(self, key: str, request: Request, retry: bool) -> Reply:
        if self._batches is not None and self._batches.takes(key):
            return await self._batches.reply(key, request, retry)
        async with self._pace.turn() as sent:
            asked = price_of(self._teacher, request) or 0
            price = await self._budget.reserve(asked)
            cost = 0  # nothing is owed until the intent is committed, because only then is anything sent
            try:
                self._breaker.check()  # the run may have ended during the wait for the budget
                number = await self._ledger.attempts.intend(key, self._teacher.identity, request, price)
                cost = price  # a request that is cut off while it is sent may have been billed
                self._tally.sent(1, retry)
                try:
                    reply = bounded(await self._send(request), price)
                except (TeacherError, RtError) as error:
                    cost = await self._failed(number, error, price, sent)
                    raise
                self._pace.accepted()
                cost = reply.nano_dollars
                await self._ledger.attempts.answered(number, key, reply)
                # Noted in the ledger, so that a later run reserves enough from its first call.
                if self._budget.answered(asked, believable(reply, price)):
                    await self._ledger.set_meta(OVERRUN, self._budget.overrun)
            finally:
                self._budget.settle(price, cost)
        self._tally.answered(reply)
        return reply

    async def _failed(self, number: int, failure: TeacherError | RtError, price: int, sent: float) -> int:
        """Commit the failure of an attempt, and return the nano-dollars charged for it."""
        error = failure if isinstance(failure, TeacherError) else TeacherError("plugin_bug", str(failure))
        if error.kind.name == "rate_limited" or error.kind.name in _TOO_MUCH:
            self._pace.refused(sent, error.kind.name == "rate_limited", error.retry_after)
        else:
            self._pace.accepted()
        cost = charged(error, price)
        await self._ledger.attempts.failed(number, error, cost)
        return cost

    async def _send(self, request: Request) -> Reply:
        teacher: Any = self._teacher
        limit = self._limits.timeout
        try:
            if self._batcher is not None:
                return await self._batcher.submit(request)
            async with asyncio.timeout(limit):
                reply: Reply = await teacher.complete(request)
            return reply
        except (TeacherError, RtError):
            raise
        except TimeoutError:
            raise TeacherError("timeout", f"no answer within {limit:g} s") from None
        except Exception as error:
            raise TeacherError("plugin_bug", f"{type(error).__name__}: {error}") from error

    async def _complete_many(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        teacher: Any = self._teacher
        for answered in enumerate(await asyncio.to_thread(teacher.complete_many, requests)):
            yield answered


def call_key(identity: str, request: Request) -> str:
    """Return the key of a call: a hash of every field that is sent except credentials, and of the answer's index."""
    return digest([identity, unstructure(request)])


def _pause(attempt: int, retry_after: float | None) -> float:
    """Return the seconds before the next attempt: the provider's request, else 1, 2, 4, … up to 60.

    Up to a quarter is added at random, so that calls that failed together are not sent again together.
    """
    spread = 1 + random.random() / 4  # noqa: S311 - no secret
    return spread * (retry_after if retry_after is not None else min(2.0 ** (attempt - 1), 60.0))
