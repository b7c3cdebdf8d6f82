"""Questions for the provider's batch API: gathered, submitted, waited for, and found again after a crash.

The order of a paid batch is: reserve the money, commit the intents together with the batch's token, submit the batch
marked with the token, commit the provider's name of it, wait, commit the raw answers, return them. So no call of a
batch is ever in doubt: after a crash the next run asks the provider for the batch with this token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from rt_framework.concurrency import StopSignal
from rt_framework.errors import RtError, TeacherError, fatal, too_long_a_pause
from rt_framework.kit.batch_tokens import BatchToken
from rt_framework.ledger import OpenBatch, OpenQuestion
from rt_framework.model import Reply, Request
from rt_framework.plugin import Reporters
from rt_framework.protocols import BatchApiTeacher
from rt_framework.teacher.attempts import Attempt, Attempts
from rt_framework.teacher.batch_exchange import BatchExchange, Ends
from rt_framework.teacher.batch_state import Gathering, Promises, Submitted, WaitingQuestion
from rt_framework.text import number_of


class ProviderBatchSender:
    """The sender of questions through the provider's batch API.

    Args:
        teacher: plugin that exchanges batches with the provider.
        attempts: the paid attempts of the run.
        reporters: are told of each batch.
        stop: stop signal that ends the waiting; submitted batches stay with the provider.
        busy: returns whether the run may soon ask more questions without a further answer of the teacher.
    """

    def __init__(
        self,
        teacher: BatchApiTeacher,
        attempts: Attempts,
        reporters: Reporters,
        stop: StopSignal,
        busy: Callable[[], bool],
    ) -> None:
        self._teacher = teacher
        self._attempts = attempts
        self._exchange = BatchExchange(teacher, attempts.ledger.batches, stop)
        self._gathering = Gathering(teacher, stop, busy)
        self._submitted = Submitted(reporters)
        self._promises = Promises()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resumed = False

    def takes(self, key: str) -> bool:
        """Return whether a question is answered by a batch: all are in batch mode, else those in an open batch.

        The first call takes up the open batches of earlier runs, so that no question in them is paid for again.
        """
        if not self._resumed:
            self._resumed = True
            for batch in self._exchange.table.open(self._attempts.identity):
                # Without batch mode the questions of a lost batch are asked again one by one, so it is given up.
                if batch.lost and not self._teacher.batched:
                    self._start(self._exchange.table.give_up(batch))
                else:
                    self._resume(batch)
        return self._teacher.batched or key in self._promises

    async def reply(self, key: str, request: Request, retry: bool) -> Reply:
        """Return the committed answer to one question, which may take hours; see :meth:`Sender.reply`.

        Raises:
            TeacherError: the question was not answered.
            RtError: the run ended, perhaps before the batch did.
        """
        if key not in self._promises:
            # The money is reserved before the question joins a batch, so that a batch never exceeds the budget.
            reserved = await self._attempts.budget.reserve(self._attempts.price(request), batched=True)
            self._promises.make(key)
            self._gathering.add(WaitingQuestion(key, request, reserved, retry), self._gather)
        return await self._promises.kept(key)

    @property
    def left(self) -> int:
        """Number of questions in submitted batches that are not collected yet."""
        return self._submitted.questions

    def why(self) -> str:
        """Return a description of the batches that are being waited for; empty if no question goes in a batch."""
        waiting = len(self._gathering.waiting)
        gathering = f"gathering {number_of(waiting, 'question')} into a batch" if waiting else ""
        return ", ".join(filter(None, (*self._submitted.described(), gathering, self._exchange.trouble)))

    async def close(self) -> None:
        """Wait for exchanges under way. Sending has to be stopped before, or this waits for whole batches."""
        await self._gathering.close()
        await asyncio.gather(*self._tasks)

    async def _gather(self) -> None:
        """Submit the gathered questions as soon as nothing else in the run can proceed."""
        gathering = self._gathering
        try:
            while gathering.waiting:
                await gathering.ready(self._tasks)
                questions = gathering.fitting()
                rows = [(question.key, question.request, question.reserved) for question in questions]
                # Committed before it is submitted, so that a later run can find the batch by its token.
                now = time.time()
                token = BatchToken(now, len(rows)).new()
                batch = await self._exchange.table.begin(token, now, self._attempts.identity, rows)
                del gathering.waiting[: len(questions)]
                self._attempts.counter.sent(len(questions), sum(question.retry for question in questions))
                self._start(self._see_through(batch, fresh=True))
        except RtError as error:
            # These were never submitted, so they cost nothing.
            for question in gathering.waiting:
                self._attempts.budget.settle(question.reserved, 0)
                self._promises.fail(question.key, error)
            gathering.waiting.clear()

    # --- one batch --------------------------------------------------------------------------

    def _resume(self, batch: OpenBatch) -> None:
        for question in batch.questions:
            self._attempts.budget.take_over(question.reserved)
            self._promises.make(question.key)
        # A batch without open questions was killed between its last answer and the commit of its own state.
        self._start(
            self._see_through(batch, fresh=False)
            if batch.questions
            else self._exchange.table.is_now(batch.token, "collected")
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see_through(self, batch: OpenBatch, fresh: bool) -> None:
        """Bring a batch from its present state to committed answers: submit or find it, wait, collect, commit."""
        try:
            ends = await self._ends(batch, fresh)
            await asyncio.gather(*(self._end(question, ends) for question in batch.questions))
            # Only after all answers are committed, because a later run no longer looks at a collected batch.
            await self._exchange.table.is_now(batch.token, "collected")
            self._submitted.collected(batch.token)
        except RtError as error:
            self._exchange.stop.trip(error)
            for question in batch.questions:
                if self._promises.open(question.key):
                    # Charged in full, because the provider may still answer and bill a batch that it has.
                    self._attempts.budget.settle(question.reserved, question.reserved)
                    self._promises.fail(question.key, error)

    async def _ends(self, batch: OpenBatch, fresh: bool) -> Ends:
        try:
            name = batch.name or await self._exchange.submit(batch, fresh)
        except TeacherError as error:
            if too_long_a_pause(error):
                self._exchange.stop.trip(fatal(error))
            return dict.fromkeys((question.key for question in batch.questions), error)
        if batch.name is None:
            await self._exchange.table.is_now(batch.token, "submitted", name)
        self._submitted.add(batch.token, name, len(batch.questions), "submitted" if fresh else "found")
        ends = await self._exchange.collect(batch, name, partial(self._submitted.moved, batch.token))
        if all(isinstance(end, TeacherError) and end.kind.name == "rate_limited" for end in ends.values()):
            self._gathering.slow_down(len(batch.questions))
        return ends

    async def _end(self, question: OpenQuestion, ends: Ends) -> None:
        """Commit the reply or failure of a question, then pass it to the callers that wait for it."""
        attempt = Attempt(self._attempts, question)
        missing = TeacherError("paid_unreadable", "the batch came back without an answer to this question")
        try:
            reply = await attempt.end(ends.get(question.key) or missing)
        except TeacherError as error:
            self._attempts.budget.settle(question.reserved, attempt.cost)
            self._promises.fail(question.key, error)
        else:
            self._attempts.budget.settle(question.reserved, attempt.cost)
            self._promises.keep(question.key, reply)
