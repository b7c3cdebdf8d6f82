"""Answers of the teacher: each question is paid for once, and nothing that was paid for is lost.

An answer is parsed only after it is committed, in :mod:`rt_framework.teacher.client`, without access to the network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property

from attrs import evolve

from rt_framework.errors import TeacherError
from rt_framework.ledger import Ledger
from rt_framework.model import Reply, Request, canonical, digest_of
from rt_framework.protocols import LocalTeacher, RereadingTeacher, Teacher
from rt_framework.teacher.budget import bounded
from rt_framework.teacher.reasoning import has_more_room
from rt_framework.teacher.sending import Answer, Sending


class Answers:
    """The answers of one run, from the ledger if they are there, else from the provider.

    Args:
        teacher: plugin that answers single requests, or batches of them.
        ledger: store of all answers.
        sending: sends the questions that the ledger cannot answer.
        ask: True if requests may be sent; if False, only answers from the ledger are given.
        holds: True if calls that a killed run may have paid for are not asked again.
        elsewhere: stores of other run directories, whose answers are copied and not asked for again.
        goes_on: True if the teacher has a fallback. Then a failure that sends a question there is final: it is kept
            like an answer, and no later run pays for it again.
    """

    def __init__(
        self,
        teacher: Teacher | LocalTeacher,
        ledger: Ledger,
        sending: Sending,
        ask: bool = True,
        holds: bool = False,
        elsewhere: Sequence[Ledger] = (),
        goes_on: bool = False,
    ) -> None:
        self.sending = sending
        self._teacher = teacher
        self._ledger = ledger
        self._ask = ask
        self._holds = holds
        self._elsewhere = elsewhere
        self._goes_on = goes_on
        self._copies: dict[str, asyncio.Task[None]] = {}

    async def answer(self, request: Request, first: bool, stage: str = "") -> Answer:
        """Return the answer to *request*, from the ledger if it is there, else from the provider.

        Args:
            request: the question.
            first: True if it is of the first conversation about its pair and reflection, and so repeats nothing.
            stage: name of the stage that asks.

        Raises:
            RtError: nothing more can be sent.
        """
        # The ledger is asked before the budget, because an answer that was paid for must never be paid for again.
        key = call_key(self._teacher.identity, request)
        known = self._ledger.calls.reply(key)
        if known is not None and not has_more_room(self._teacher, request, known):
            self.sending.counter.reused[stage] += 1
            return Answer(key, known)
        if key in self._unread:
            read = await self._reread(key, request)
            if read is not None:
                return Answer(key, read)
        paid = found_elsewhere(self._ledger, self._elsewhere, key)
        if paid is not None and not has_more_room(self._teacher, request, paid):
            await self._copy(key, request, paid)
            self.sending.counter.reused[stage] += 1
            return Answer(key, paid)
        failed = self._ledger.calls.final_failure(key) if self._goes_on else None
        if failed is not None:
            return Answer(key, None, failed)
        if not self._ask:
            return Answer(
                key,
                None,
                TeacherError(
                    "no_answer", "no answer is stored and this command sends nothing; 'rt run' asks for missing answers"
                ),
            )
        if key in self._on_hold:
            return Answer(
                key, None, TeacherError("interrupted_unknown", "on hold, because the call may have been billed already")
            )
        return await self.sending.answer(key, request, first)

    async def _copy(self, key: str, request: Request, reply: Reply) -> None:
        """Copy an answer into the run's own ledger; callers with the same question share one copy."""
        if key not in self._copies:
            copying = self._ledger.attempts.copied(key, self._teacher.identity, request, reply)
            self._copies[key] = asyncio.create_task(copying)
        # Shielded, because others may wait for the same copy.
        await asyncio.shield(self._copies[key])

    async def close(self) -> None:
        """Wait for the calls under way, since they may already be billed, and send nothing more."""
        await self.sending.close()

    @cached_property
    def _on_hold(self) -> frozenset[str]:
        """Keys of doubtful calls that are not asked again.

        They are looked up at the first question, because a run may release some before it.
        """
        return frozenset(self._ledger.calls.doubtful()) if self._holds else frozenset()

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
                reply = bounded(await self._teacher.reread(request, raw), cost)
            except TeacherError:
                continue
            # The parts are those of the cost that the teacher computes now, which may be another one.
            reply = evolve(reply, nano_dollars=cost, charge=reply.charge if reply.nano_dollars == cost else None)
            await self._ledger.attempts.answered(attempt, reply)
            return reply
        return None


def found_elsewhere(own: Ledger | None, others: Sequence[Ledger], key: str) -> Reply | None:
    """Return the answer to a call that another run directory has paid for, or ``None``.

    An answer that was withdrawn in the own ledger is not looked for: another one is wanted, not the same again.
    """
    if not others or (own is not None and own.calls.withdrawn(key)):
        return None
    return next((reply for ledger in others if (reply := ledger.calls.reply(key)) is not None), None)


def call_key(identity: str, request: Request) -> str:
    """Return the key of a call: a hash of every field that is sent except credentials, and of the answer's index."""
    # The canonical JSON of [identity, request]; that of the request is made once, for its key and for the ledger.
    return digest_of(f"[{canonical(identity)},{request.canonical}]")
