"""The protocols of teachers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from rt_framework.errors import TeacherError
from rt_framework.model import Pending, Quotas, Reply, Request
from rt_framework.protocols.students import AsyncGeneratingStudent, Executor, GeneratingStudent


class Teacher(Protocol):
    """A source of answers. Each call is one attempt, without retry, cache or batching, because core does all three."""

    @property
    def identity(self) -> str:
        """Name of what is asked, without host or credentials: part of every call's key."""

    @property
    def structured(self) -> bool:
        """Return whether answers are held to the request's JSON schema; if not, prompts ask for markers."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            TeacherError: with the kind of failure.
        """


@runtime_checkable
class LocalTeacher(Protocol):
    """A local model that answers many requests at once, by ``complete_many`` instead of ``complete``."""

    @property
    def identity(self) -> str:
        """As for :class:`Teacher`."""

    @property
    def structured(self) -> bool:
        """As for :class:`Teacher`."""

    @property
    def batch_size(self) -> int:
        """Most requests of one batch."""

    def complete_many(self, requests: Sequence[Request]) -> Sequence[Reply] | Awaitable[Sequence[Reply]]:
        """Answer a batch, in order. Called in a thread of its own; awaited if it is a coroutine function."""


@runtime_checkable
class StudentTeacher(Protocol):
    """A teacher that asks one of the run's students. The members come besides those of another teacher.

    Core calls ``use`` before it reads any other member but ``student``.
    """

    @property
    def student(self) -> str:
        """Name of the student in the config; empty for the main student."""

    def use(
        self,
        student: GeneratingStudent | AsyncGeneratingStudent,
        executor: Executor | None,
        ready: Callable[[], Awaitable[None]],
    ) -> Teacher | LocalTeacher:
        """Take the student, and return the teacher that asks it, which may be this one.

        Work for a model on this machine belongs on the executor, where it waits for the forward passes and they wait
        for it. Without an executor nothing will be asked. Before each question to a student behind a server *ready* is
        awaited, so that no other model than the student answers.
        """


@runtime_checkable
class BatchApiTeacher(Protocol):
    """A teacher whose provider also takes requests by the thousand, answers within hours, and asks less for it.

    The members are optional and come besides ``complete``. They only talk to the provider: core gathers the requests,
    waits, finds batches that were submitted before a crash, and asks again for answers that did not come.
    """

    @property
    def batched(self) -> bool:
        """Return whether requests are sent in batches. If not, only batches submitted earlier are collected."""

    @property
    def most_requests(self) -> int:
        """Most requests of one batch."""

    @property
    def most_bytes(self) -> int:
        """Most bytes of the prompts of one batch, as :attr:`Request.most_prompt_tokens` counts them."""

    async def submit(self, requests: Mapping[str, Request], token: str) -> str:
        """Submit requests by key, marked with *token*, and return the provider's name of the batch.

        Raises:
            TeacherError: with the kind of failure; if that kind is sent again, core first looks for the token.
        """

    async def find(self, token: str) -> str | None:
        """Return the provider's name of the batch that was marked with *token*; ``None`` if there is certainly none.

        Raises:
            TeacherError: the provider could not be asked, or cannot tell yet; after a kind that is sent again core asks
                again.
        """

    async def collect(
        self, batch: str, requests: Mapping[str, Request]
    ) -> Pending | Mapping[str, Reply | TeacherError]:
        """Return the answer or the failure of each request, by key; or the progress of a batch that has not ended.

        Raises:
            TeacherError: the provider could not be asked.
        """


@runtime_checkable
class RereadingTeacher(Protocol):
    """A teacher that can read kept answers again, which an earlier release of the teacher could not read."""

    async def reread(self, request: Request, raw: bytes) -> Reply:
        """Read the body of an answer to *request* that :meth:`Teacher.complete` could not read. Sends nothing.

        Raises:
            TeacherError: it still cannot be read.
        """


@runtime_checkable
class QuotaTeacher(Protocol):
    """A teacher whose provider states its quotas beside its answers. The member is optional."""

    @property
    def quotas(self) -> Quotas:
        """The quotas that the latest answer or refusal stated; those of before where it stated none."""


@runtime_checkable
class ReasoningTeacher(Protocol):
    """A teacher whose model may think before it answers. The member is optional."""

    @property
    def reasoning_tokens(self) -> int:
        """Most tokens of reasoning beside each answer, which the teacher allows in addition to the request's
        ``max_tokens``. They are billed as tokens of the answer, so core reserves their price.
        """


@runtime_checkable
class PricedTeacher(Protocol):
    """A teacher that knows its prices, which a run with a budget needs."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the cost of so many tokens in nano-dollars, rounded up; ``None`` when the price is not known."""
