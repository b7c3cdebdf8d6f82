"""The teacher's chain: render, look up, else pay, commit, parse.

The order of a paid call is reserve and commit the intent, send, commit the raw answer, parse.
Nothing is parsed before it is committed, so a better parser costs no call.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from attrs import asdict, frozen

from rt_framework.batching import Batcher
from rt_framework.config import Limits
from rt_framework.errors import KINDS, BudgetReached, ConfigError, FatalTeacherError, Retry, RtError, TeacherError
from rt_framework.ledger import Ledger
from rt_framework.model import Failure, Pair, Reply, Request, Unparsed, Version, digest
from rt_framework.protocols import BatchTeacher, PricedTeacher, Reflection, Teacher
from rt_framework.tally import Tally


@frozen
class _Answer:
    """An answer and where it is kept, or why there is none."""

    key: str
    reply: Reply | None
    error: TeacherError | None = None


class Teaching:
    """Asks the teacher of one run, each question once.

    Args:
        teacher: answers one attempt, or batches of them.
        ledger: where answers are kept.
        limits: concurrency, attempts and budget.
        tally: counts.
    """

    def __init__(
        self,
        teacher: Teacher | BatchTeacher,
        ledger: Ledger,
        limits: Limits,
        tally: Tally,
    ) -> None:
        self._teacher = teacher
        self._ledger = ledger
        self._limits = limits
        self._tally = tally
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._flights: dict[str, asyncio.Task[_Answer]] = {}
        self._spent = ledger.spent()
        self._open = 0
        self._freed = asyncio.Event()
        self._stopped: RtError | None = None
        self._batcher: Batcher[Request, Reply] | None = None
        if isinstance(teacher, BatchTeacher):
            self._slots = asyncio.Semaphore(max(limits.concurrency, 2 * teacher.batch_size))
            self._batcher = Batcher(self._complete_many, teacher.batch_size)

    @property
    def identity(self) -> str:
        """The teacher as it is named in keys."""
        return self._teacher.identity

    async def reflect(self, name: str, reflection: Reflection, version: Version, stage: str) -> Version | Failure:
        """A rewrite of *version*, or why there is none after every attempt that is allowed.

        Raises:
            FatalTeacherError: no further call can succeed.
            BudgetReached: the budget allows no further call.
        """
        failure = Failure(stage, "format", "no answer was asked for")
        for index in range(self._limits.answers):
            request = reflection.render(version.pair, index, self._teacher.structured)
            answer = await self._answer(request, first=index == 0)
            outcome = _read(reflection, version.pair, request, answer)
            if isinstance(outcome, Pair):
                return Version(_lineage(version.name, name), outcome, version.name, name, answer.key)
            failure = Failure(stage, outcome.kind, outcome.reason, answer.key)
            if not _worth_changing(outcome.kind):
                break
        return failure

    async def close(self) -> None:
        """Stop calls that nobody waits for any more and free the teacher's connections."""
        for task in self._flights.values():
            task.cancel()
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        if self._batcher is not None:
            await self._batcher.close()
        free = getattr(self._teacher, "aclose", None)
        if free is not None:
            await free()

    # --- one answer -------------------------------------------------------------------------

    async def _answer(self, request: Request, first: bool) -> _Answer:
        key = call_key(self._teacher.identity, request)
        known = self._ledger.reply(key)
        if known is not None:
            self._tally.reused_calls += 1
            return _Answer(key, known)
        if key not in self._flights:
            self._flights[key] = asyncio.create_task(self._pay(key, request, first))
            self._flights[key].add_done_callback(lambda _: self._flights.pop(key, None))
        # Shielded: the answer belongs to everyone who asked, and to the ledger.
        return await asyncio.shield(self._flights[key])

    async def _pay(self, key: str, request: Request, first: bool) -> _Answer:
        for attempt in range(self._limits.attempts):
            try:
                async with self._slots:
                    reply = await self._attempt(key, request, retry=not first or attempt > 0)
                return _Answer(key, reply)
            except TeacherError as error:
                if error.kind.fatal:
                    self._stopped = FatalTeacherError(f"teacher: {error.kind.meaning}: {error.message}")
                    raise self._stopped from error
                if error.kind.retry is not Retry.RESEND or attempt + 1 == self._limits.attempts:
                    return _Answer(key, None, error)
                await asyncio.sleep(_pause(attempt, error.retry_after))
        raise ConfigError("limits.attempts must be at least 1")

    async def _attempt(self, key: str, request: Request, retry: bool) -> Reply:
        reserved = await self._reserve(request)
        # What is cut off on its way may have been billed.
        cost = reserved
        try:
            number = await self._ledger.intend(key, self._teacher.identity, request, reserved)
            self._tally.calls += 1
            self._tally.retries += retry
            try:
                reply = await self._send(request)
            except (TeacherError, RtError) as error:
                kind = error.kind if isinstance(error, TeacherError) else KINDS["plugin_bug"]
                cost = 0 if kind.billed == "no" else reserved
                await self._ledger.attempt_failed(number, kind.name, str(error), cost)
                raise
            await self._ledger.answered(number, key, reply)
            cost = reply.nano_dollars
        finally:
            self._release(reserved, cost)
        self._tally.nano_dollars += reply.nano_dollars
        self._tally.teacher_tokens += reply.usage.completion_tokens
        self._tally.changed()
        return reply

    async def _send(self, request: Request) -> Reply:
        teacher: Any = self._teacher
        try:
            reply: Reply = await (self._batcher.submit(request) if self._batcher else teacher.complete(request))
        except (TeacherError, RtError):
            raise
        except Exception as error:
            raise TeacherError("plugin_bug", f"{type(error).__name__}: {error}") from error
        return reply

    async def _complete_many(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        teacher: Any = self._teacher
        for answered in enumerate(await asyncio.to_thread(teacher.complete_many, requests)):
            yield answered

    async def _reserve(self, request: Request) -> int:
        """Take the most an attempt can cost from the budget, before anything is sent.

        Attempts cost less than they reserve: only when none is under way is the budget really reached.
        """
        price = self._price(request)
        while self._stopped is None and self._open and not self._affords(price):
            self._freed.clear()
            await self._freed.wait()
        if self._stopped is None and not self._affords(price):
            self._stopped = BudgetReached(
                f"the next call could cost more than what is left of the budget of ${self._limits.budget:g} "
                f"(${self._spent / 1e9:.4f} spent); run again with a larger limits.budget to go on"
            )
        if self._stopped is not None:
            raise self._stopped
        self._open += 1
        self._spent += price
        return price

    def _release(self, reserved: int, cost: int) -> None:
        """Put what an attempt cost in place of what it reserved."""
        self._open -= 1
        self._spent += cost - reserved
        self._freed.set()

    def _affords(self, price: int) -> bool:
        return self._limits.budget is None or self._spent + price <= self._limits.budget * 1e9

    def _price(self, request: Request) -> int:
        """Most that an attempt can cost, in nano-dollars.

        Raises:
            ConfigError: the run has a budget and the price is not known.
        """
        price = self._teacher.price(request) if isinstance(self._teacher, PricedTeacher) else None
        if price is None and self._limits.budget is not None:
            raise ConfigError(
                f"limits.budget is set but the price of teacher '{self._teacher.identity}' is not known; "
                "give its prices in the teacher's settings, or leave the budget out"
            )
        return price or 0


def call_key(identity: str, request: Request) -> str:
    """Key of a call: every field that is sent except credentials, and which answer it is."""
    return digest([identity, asdict(request)])


def _read(reflection: Reflection, pair: Pair, request: Request, answer: _Answer) -> Pair | Unparsed:
    if answer.reply is None:
        error = answer.error
        return Unparsed(error.kind.name, error.message) if error else Unparsed("connection", "no answer")
    return reflection.parse(pair, request, answer.reply)


def _worth_changing(kind: str) -> bool:
    return KINDS[kind].retry is Retry.CHANGE


def _lineage(parent: str, reflection: str) -> str:
    return reflection if parent == "original" else f"{parent}.{reflection}"


def _pause(attempt: int, retry_after: float | None) -> float:
    """Seconds to wait: what the provider asked for, else doubling from one second, spread at random."""
    spread = 1 + random.random() / 4  # noqa: S311 - no secret
    return retry_after * spread if retry_after is not None else min(2.0**attempt, 60.0) * spread
