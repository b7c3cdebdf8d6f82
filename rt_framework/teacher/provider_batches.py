"""Questions for the provider's batch API: gathered, submitted, waited for, and found again after a crash.

The order of a paid batch is: reserve the money, commit the intents together with the batch's token, submit the batch
marked with the token, commit the provider's name of it, wait, commit the raw answers, return them. So no call of a
batch is ever in doubt: after a crash the next run asks the provider for the batch with this token.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, TypeVar

from attrs import evolve, frozen

from rt_framework.concurrency import StopSignal
from rt_framework.errors import FatalTeacherError, PluginError, Retry, RtError, TeacherError, fatal, too_long_a_pause
from rt_framework.events import BatchChanged
from rt_framework.ledger import Ledger, OpenBatch, OpenQuestion
from rt_framework.model import Pending, Reply, Request
from rt_framework.plugin import Tally
from rt_framework.protocols import BatchApiTeacher
from rt_framework.teacher.budget import Budget, believable, bounded, charged, price_of

T = TypeVar("T")

_QUIET = 0.5
"""Seconds without a new question or a forward pass of the student, after which the run needs the batch to proceed."""

_SOONEST, _GROWTH, _LATEST = 10.0, 1.5, 300.0
"""Seconds between the first two polls of a batch, the factor by which the pause grows, and the longest pause."""

_GRACE, _LOOKS = 30.0, 6
"""Seconds after which a submitted batch certainly shows in the provider's list, and the number of looks until then."""

_TRANSFER = 600.0
"""Timeout in seconds of one exchange with the provider: files of up to 200 MB are sent and received."""

_UNREADABLE = 12
"""Number of unreadable answers to polls, after which a batch counts as lost: with the pauses, about half an hour."""

Ends = Mapping[str, Reply | TeacherError]
"""The reply or the failure of each question, by key."""


@frozen
class _Question:
    key: str
    request: Request
    price: int
    retry: bool


@frozen
class _Held:
    """A batch that was submitted to the provider and not collected yet."""

    name: str
    questions: int
    progress: Pending | None = None

    def __str__(self) -> str:
        so_far = f": {self.progress.done} of {self.progress.total} done" if self.progress else ""
        return f"batch {self.name}{so_far}"


class ProviderBatches:
    """The provider batches of one run.

    Args:
        teacher: plugin that exchanges batches with the provider.
        identity: identity of the teacher.
        ledger: store of answers and batches.
        budget: budget of the run.
        tally: counters of the run; they also tell whether the student is scoring.
        breaker: stop signal that ends the waiting; submitted batches stay with the provider.
    """

    def __init__(
        self, teacher: BatchApiTeacher, identity: str, ledger: Ledger, budget: Budget, tally: Tally, breaker: StopSignal
    ) -> None:
        self._teacher = teacher
        self._identity = identity
        self._ledger = ledger
        self._book = ledger.batches
        self._budget = budget
        self._tally = tally
        self._breaker = breaker
        self._most = teacher.most_requests
        self._one_by_one = False
        self._resumed = False
        self._waiting: list[_Question] = []
        self._answers: dict[str, asyncio.Future[Reply]] = {}
        self._gatherer: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._with_provider: dict[str, _Held] = {}
        self._trouble = ""

    def takes(self, key: str) -> bool:
        """Return whether a question is answered by a batch: all are in batch mode, else those in an open batch.

        The first call takes up the open batches of earlier runs, so that no question in them is paid for again.
        """
        if not self._resumed:
            self._resumed = True
            for batch in self._book.open():
                # Without batch mode the questions of a lost batch are asked again one by one, so it is given up.
                if batch.lost and not self._teacher.batched:
                    self._start(self._book.give_up(batch))
                else:
                    self._resume(batch)
        return self._teacher.batched or key in self._answers

    async def reply(self, key: str, request: Request, retry: bool) -> Reply:
        """Return the committed answer to one question, which may take hours.

        Args:
            key: key of the call.
            request: the question.
            retry: True if it was asked before.

        Raises:
            TeacherError: the question was not answered.
            RtError: the run ended, perhaps before the batch did.
        """
        if key not in self._answers:
            price = await self._budget.reserve(price_of(self._teacher, request) or 0, batched=True)
            self._expect(key)
            self._waiting.append(_Question(key, request, price, retry))
            if self._gatherer is None or self._gatherer.done():
                self._gatherer = asyncio.create_task(self._gather())
        try:
            return await self._answers[key]
        finally:
            # Removed only now, so that a question that arrives while its answer is committed is not asked again.
            del self._answers[key]

    @property
    def left(self) -> int:
        """Number of questions in submitted batches that are not collected yet."""
        return sum(batch.questions for batch in self._with_provider.values())

    def why(self) -> str:
        """Return a description of the batches that are being waited for; empty if no question goes in a batch."""
        parts = [str(batch) for batch in self._with_provider.values()]
        parts += [f"{len(self._waiting)} questions gather"] if self._waiting else []
        return ", ".join(parts + ([self._trouble] if self._trouble else []))

    async def close(self) -> None:
        """Wait for exchanges under way. The breaker has to be tripped before, or this waits for whole batches."""
        if self._gatherer is not None:
            await self._gatherer
        await asyncio.gather(*self._under_way)

    # --- gathering --------------------------------------------------------------------------

    async def _gather(self) -> None:
        """Submit the gathered questions as soon as nothing else in the run can proceed."""
        try:
            while self._waiting:
                await self._quiet()
                taken = self._fitting()
                asked = [(question.key, question.request, question.price) for question in taken]
                # Committed before it is submitted, so that a later run can find the batch by its token.
                batch = await self._book.begin(secrets.token_hex(16), time.time(), self._identity, asked)
                self._waiting = self._waiting[len(taken) :]
                self._tally.sent(len(taken), sum(question.retry for question in taken))
                self._start(self._see_through(batch, fresh=True))
        except RtError as error:
            # These were never submitted, so they cost nothing.
            for question in self._waiting:
                self._budget.settle(question.price, 0)
                self._answers[question.key].set_exception(error)
            self._waiting = []

    async def _quiet(self) -> None:
        while self._one_by_one and self._under_way:
            await asyncio.wait(self._under_way)
        seen = 0
        while (seen < len(self._waiting) or self._tally.scoring) and len(self._waiting) < self._most:
            seen = len(self._waiting)
            await self._breaker.sleep(_QUIET)
        self._breaker.check()

    def _fitting(self) -> Sequence[_Question]:
        """Return as many of the waiting questions as fit in one batch, and always the first."""
        some = self._waiting[: self._most]
        sizes = accumulate(question.request.most_prompt_tokens for question in some)
        return some[: max(1, sum(size <= self._teacher.most_bytes for size in sizes))]

    # --- one batch --------------------------------------------------------------------------

    def _resume(self, batch: OpenBatch) -> None:
        for question in batch.questions:
            self._budget.take_over(question.reserved)
            self._expect(question.key)
        # A batch without open questions was killed between its last answer and the commit of its own state.
        open_ = (
            self._see_through(batch, fresh=False) if batch.questions else self._book.is_now(batch.token, "collected")
        )
        self._start(open_)

    def _expect(self, key: str) -> None:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        # Reads the exception, because this run may never ask a question that an earlier run submitted.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answers[key] = answer

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _see_through(self, batch: OpenBatch, fresh: bool) -> None:
        """Bring a batch from its present state to committed answers: submit or find it, wait, collect, commit."""
        try:
            ends = await self._ends(batch, fresh)
            await asyncio.gather(*(self._end(question, ends) for question in batch.questions))
            # Only after all answers are committed, because a later run no longer looks at a collected batch.
            await self._book.is_now(batch.token, "collected")
            if batch.token in self._with_provider:
                self._tell(batch, "collected")
                del self._with_provider[batch.token]
        except RtError as error:
            self._breaker.trip(error)
            for question in batch.questions:
                answer = self._answers.get(question.key)
                if answer is not None and not answer.done():
                    # Charged in full, because the provider may still answer and bill a batch that it has.
                    self._budget.settle(question.reserved, question.reserved)
                    answer.set_exception(error)

    async def _ends(self, batch: OpenBatch, fresh: bool) -> Ends:
        try:
            name = batch.name or await self._named(batch, fresh)
        except TeacherError as error:
            if too_long_a_pause(error):
                self._breaker.trip(fatal(error))
            return dict.fromkeys((question.key for question in batch.questions), error)
        if batch.name is None:
            await self._book.is_now(batch.token, "submitted", name)
        self._with_provider[batch.token] = _Held(name, len(batch.questions))
        self._tell(batch, "submitted" if fresh else "found")
        requests = {question.key: question.request for question in batch.questions}
        ends = await self._collected(batch, name, requests)
        if all(isinstance(end, TeacherError) and end.kind.name == "rate_limited" for end in ends.values()):
            # The provider limits the questions in all open batches together: later ones are smaller and go in turn.
            self._most, self._one_by_one = max(1, len(requests) // 2), True
        return ends

    async def _named(self, batch: OpenBatch, fresh: bool) -> str:
        """Return the provider's name of the batch, which is submitted unless an earlier run may have submitted it.

        Raises:
            TeacherError: the provider certainly does not have the batch.
        """
        # A submission that may have arrived is never repeated, because both would be billed: the batch is looked for.
        why = "the run was killed before"
        if fresh:
            requests = {question.key: question.request for question in batch.questions}
            try:
                return await self._exchanged(self._teacher.submit(requests, batch.token))
            except TeacherError as error:
                if error.kind.retry is not Retry.RESEND or error.kind.name == "rate_limited":
                    raise
                why = error.message
        name = await self._found(batch.token)
        if name is None:
            raise TeacherError("expired", f"the batch was not submitted: {why}")
        return name

    async def _found(self, token: str) -> str | None:
        for look in range(_LOOKS):
            name = await self._asked(token, partial(self._teacher.find, token))
            if name is not None:
                return name
            if look < _LOOKS - 1:
                await self._breaker.sleep(_GRACE / (_LOOKS - 1))
        return None

    async def _collected(self, batch: OpenBatch, name: str, requests: Mapping[str, Request]) -> Ends:
        pause = _SOONEST
        while True:
            found = await self._asked(batch.token, partial(self._teacher.collect, name, requests))
            if not isinstance(found, Pending):
                return found
            self._with_provider[batch.token] = evolve(self._with_provider[batch.token], progress=found)
            await self._breaker.sleep(pause)
            pause = min(pause * _GROWTH, _LATEST)

    async def _end(self, question: OpenQuestion, ends: Ends) -> None:
        """Commit the reply or failure of a question, then pass it to the callers that wait for it."""
        end = ends.get(question.key) or TeacherError("paid_unreadable", "the batch came back without an answer to this")
        try:
            if isinstance(end, TeacherError):
                raise end
            reply = bounded(end, question.reserved)
        except TeacherError as error:
            cost = charged(error, question.reserved)
            await self._ledger.attempts.failed(question.attempt, error, cost)
            self._budget.settle(question.reserved, cost)
            self._answers[question.key].set_exception(error)
            return
        # Committed before anyone gets it, so that no answer is used that a crash could lose.
        await self._ledger.attempts.answered(question.attempt, question.key, reply)
        self._tally.answered(reply)
        asked = price_of(self._teacher, question.request) or 0
        self._budget.answered(asked, believable(reply, question.reserved))
        self._budget.settle(question.reserved, reply.nano_dollars)
        self._answers[question.key].set_result(reply)

    def _tell(self, batch: OpenBatch, state: str) -> None:
        event = BatchChanged(self._with_provider[batch.token].name, len(batch.questions), state)
        self._tally.reporters.send("rt_batch_changed", event)

    # --- the provider -----------------------------------------------------------------------

    async def _asked(self, token: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the provider's answer to a poll of a batch, repeated after each failure that may pass.

        A poll costs nothing, so it is cancelled when the run ends.

        Raises:
            FatalTeacherError: the provider refuses to answer, or no longer has the batch.
        """
        pause, unreadable = _SOONEST, 0
        while True:
            try:
                said = await self._breaker.unless_tripped(self._exchanged(ask()))
            except TeacherError as error:
                unreadable += error.kind.name == "paid_unreadable"
                if error.kind.name == "batch_lost" or unreadable > _UNREADABLE:
                    await self._book.is_now(token, "lost")
                    raise _lost(error) from error
                if error.kind.retry is not Retry.RESEND or too_long_a_pause(error):
                    raise fatal(error) from error
                self._trouble = f"the provider cannot be asked: {error.message}"
                pause = min(max(pause * _GROWTH, error.retry_after or 0), _LATEST)
            else:
                self._trouble = ""
                return said
            await self._breaker.sleep(pause)

    async def _exchanged(self, exchange: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(_TRANSFER):
                return await exchange
        except (TeacherError, RtError):
            raise
        except TimeoutError:
            raise TeacherError("timeout", f"no answer within {_TRANSFER:g} s") from None
        except Exception as error:
            raise PluginError(f"the teacher's batches failed: {type(error).__name__}: {error}") from error


def _lost(error: TeacherError) -> FatalTeacherError:
    return FatalTeacherError(
        f"teacher: {error.message}. The same command looks again. If the batch is lost it may have been billed: "
        "'rt retry --kind batch_lost' gives it up and asks its questions again, and so does 'rt run' with batch: false "
        "in the teacher's settings"
    )
