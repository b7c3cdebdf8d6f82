"""Senders of single questions: to a provider, and to a model on this machine."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Protocol

from rt_framework.concurrency import AdaptiveLimiter, Batcher, Sent, StopSignal, TokenEstimate
from rt_framework.config import Limits
from rt_framework.errors import RtError, TeacherError, described
from rt_framework.kit import effort
from rt_framework.model import Reply, Request
from rt_framework.protocols import LocalTeacher, QuotaTeacher, Teacher
from rt_framework.teacher.attempts import Attempts
from rt_framework.teacher.budget import bounded
from rt_framework.teacher.reasoning import most_answer_tokens

_TOO_MUCH = frozenset({"overloaded", "timeout", "connection"})
"""Kinds of failure that show that the provider has more calls under way than it can handle."""


class Sender(Protocol):
    """A way of putting a question to the teacher once."""

    async def reply(self, key: str, request: Request, retry: bool) -> Reply:
        """Return the committed answer to one question.

        Args:
            key: key of the call.
            request: the question.
            retry: True if it was asked before.

        Raises:
            TeacherError: the attempt failed; the failure is committed.
            RtError: nothing more can be sent.
        """


class _DirectSender:
    """The common part of senders that send each question by itself, as many at once as the teacher accepts."""

    def __init__(self, teacher: Teacher | LocalTeacher, attempts: Attempts, limiter: AdaptiveLimiter) -> None:
        self.limiter = limiter
        self._attempts = attempts
        self._most_answer_tokens = partial(most_answer_tokens, teacher)
        self._states_quotas = teacher if isinstance(teacher, QuotaTeacher) else None
        self._estimate = TokenEstimate()
        self._free = getattr(teacher, "aclose", None)

    async def reply(self, key: str, request: Request, retry: bool) -> Reply:
        """Return the committed answer to one question; see :meth:`Sender.reply`."""
        # The turn comes before the money, so that a call that waits for its turn reserves nothing that others need.
        tokens = self._estimate.of(request.most_prompt_tokens, self._most_answer_tokens(request))
        turn, attempts = self.limiter.turn(tokens), self._attempts.one(key, request, retry)
        async with turn as sent, effort.calling(), attempts as attempt:
            outcome: object
            stopped: RtError | None = None
            try:
                outcome = await self._complete(request)
            except TeacherError as error:
                outcome = error
            except RtError as error:
                outcome, stopped = TeacherError("plugin_bug", str(error)), error
            except Exception as error:
                outcome = TeacherError("plugin_bug", described(error))
            self._learn(outcome, sent)
            try:
                reply = await attempt.end(outcome)
            except TeacherError as error:
                raise stopped or error from None
            # Learned from what was committed, since a teacher may give any numbers.
            used = reply.usage
            self.limiter.used(sent, used.prompt_tokens + used.completion_tokens)
            self._estimate.learn(request.most_prompt_tokens, used.prompt_tokens, used.completion_tokens)
            return reply

    async def close(self) -> None:
        """Release what the teacher holds, after the last reply."""
        if self._free is not None:
            await self._free()

    async def _complete(self, request: Request) -> object:
        """Return the teacher's reply to a request, whatever a plugin gives back."""
        raise NotImplementedError

    def _learn(self, outcome: object, sent: Sent) -> None:
        """Let the limiter know how the provider took a call, and which quotas were stated."""
        stated = self._states_quotas.quotas if self._states_quotas is not None else None
        if isinstance(outcome, TeacherError) and outcome.kind.name in ("rate_limited", *_TOO_MUCH):
            self.limiter.refused(sent, outcome.kind.name == "rate_limited", outcome.retry_after, stated)
        # Read as it will be committed, since a teacher may give anything for its numbers.
        elif not (isinstance(outcome, Reply) and isinstance(outcome.text, str) and _is_all_reasoning(outcome)):
            # As long as only such answers come, which help nobody, no more calls are under way than at the beginning.
            self.limiter.accepted(stated)


def _is_all_reasoning(reply: Reply) -> bool:
    return not reply.text.strip() and bounded(reply, 0).all_reasoning


class LiveSender(_DirectSender):
    """A sender of single requests to a provider, as fast as it accepts them."""

    def __init__(self, teacher: Teacher, attempts: Attempts, limits: Limits, stop: StopSignal) -> None:
        limiter = AdaptiveLimiter(
            limits.concurrency,
            stop,
            requests=limits.requests_per_minute,
            tokens=limits.tokens_per_minute,
            # Where the provider may state its quotas, the first answer tells how fast all others may go.
            careful=isinstance(teacher, QuotaTeacher) and limits.tokens_per_minute is None,
        )
        super().__init__(teacher, attempts, limiter)
        self._teacher = teacher
        self._timeout = limits.timeout

    async def _complete(self, request: Request) -> object:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._teacher.complete(request)
        except TimeoutError:
            raise TeacherError("timeout", f"no answer within {self._timeout:g} s") from None


class LocalSender(_DirectSender):
    """A sender to a model on this machine, which answers in batches."""

    def __init__(self, teacher: LocalTeacher, attempts: Attempts, limits: Limits, stop: StopSignal) -> None:
        # Two batches: while one is computed, the questions of the next one gather.
        most = max(limits.concurrency, 2 * teacher.batch_size)
        super().__init__(teacher, attempts, AdaptiveLimiter(most, stop, steady=True))
        self._teacher = teacher
        self._batcher: Batcher[Request, Reply | TeacherError] = Batcher(self._complete_many, teacher.batch_size)

    async def close(self) -> None:
        """Stop the worker, and release what the teacher holds."""
        await self._batcher.close()
        await super().close()

    async def _complete(self, request: Request) -> object:
        return await self._batcher.submit(request)

    async def _complete_many(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply | TeacherError]]:
        for numbered in enumerate(await self._outcomes(requests)):
            yield numbered

    async def _outcomes(self, requests: Sequence[Request]) -> Sequence[Reply | TeacherError]:
        complete: Any = self._teacher.complete_many
        try:
            apart = not inspect.iscoroutinefunction(complete)
            replies: Sequence[Reply] = await (asyncio.to_thread(complete, requests) if apart else complete(requests))
        except TeacherError as error:
            if len(requests) == 1:
                return [error]
            # A request that the model refuses says nothing about the others of its batch.
            return [outcome for request in requests for outcome in await self._outcomes([request])]
        return replies
