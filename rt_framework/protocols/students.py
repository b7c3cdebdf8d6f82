"""The protocols of students, and of executors, in which students run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Protocol, TypeGuard, TypeVar, runtime_checkable

from rt_framework.model import Reply, Request
from rt_framework.spans import EncodedSpan, Span, SpanLoss

T = TypeVar("T")


class Student(Protocol):
    """The model to be tuned, used as a scorer."""

    @property
    def fingerprint(self) -> str:
        """Identity of weights, tokenizer, dtype and encoding. Must not load the model."""

    def encode(self, spans: Sequence[Span]) -> Sequence[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result without a number that says why there are none."""

    def score(self, batch: Sequence[EncodedSpan]) -> Sequence[SpanLoss]:
        """Return the losses of a batch, in order. A loss must not depend on batch mates beyond float noise.

        Raises:
            OutOfMemory: the batch does not fit; core halves it.
        """


@runtime_checkable
class SelfDescribingStudent(Protocol):
    """A student that states which batches suit it. Asked at the first forward pass, so it may load the model."""

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch."""

    @property
    def packs(self) -> bool:
        """Return whether a batch runs as one row, shared prefixes once, laid out by :mod:`rt_framework.kit.packing`."""

    @property
    def path(self) -> str:
        """Description of the way losses are computed, for ``rt doctor`` and the manifest."""


@runtime_checkable
class TurnStudent(Protocol):
    """A student that shows tools, calls of tools and reasoning. The extension is optional.

    Without it a span of a conversation with these has the status ``no_turns`` and is not given to the student.
    """

    reads_turns: bool
    """True."""


@runtime_checkable
class GeneratingStudent(Student, Protocol):
    """A student that also answers questions, so that a teacher can ask it. The extension is optional."""

    @property
    def structured(self) -> bool:
        """Return whether answers are held to the request's JSON schema; if not, prompts ask for markers."""

    def generate(self, requests: Sequence[Request]) -> Sequence[Reply]:
        """Answer a batch of requests, in order, each as if it were alone, with the weights that also score.

        Raises:
            TeacherError: with the kind of failure.
        """


@runtime_checkable
class EmbeddingStudent(Student, Protocol):
    """A student that gives vectors of texts by its hidden states. The extension is optional."""

    def embed(self, batch: Sequence[EncodedSpan]) -> Sequence[Sequence[float]]:
        """Return the mean of the last hidden states over the target tokens of each sequence, in order, in float32.

        All vectors have the same length, the width of the model, and do not depend on batch mates beyond float noise.

        Raises:
            OutOfMemory: the batch does not fit; core halves it.
        """


@runtime_checkable
class ThreadSafeStudent(Protocol):
    """A student whose methods several threads of its process may call at once. The extension is optional.

    So a GPU gets its next batch while it computes one.
    """

    @property
    def threads(self) -> int:
        """Most threads that may use the student at once."""


class AsyncStudent(Protocol):
    """A student behind a server, which computes many losses at once. It has ``loss`` in the place of ``score``.

    Core keeps up to ``at_once`` requests under way, tries again after failures that pass, waits for a server that is
    started again, and checks that the weights behind the name stay the same.
    """

    @property
    def fingerprint(self) -> str:
        """Identity of server, model, dtype and encoding. It may ask the server, and must not load the model here.

        Raises:
            RtError: the server cannot be reached, or cannot give losses of a prompt's tokens.
        """

    @property
    def at_once(self) -> int:
        """Most requests under way at once."""

    @property
    def noise(self) -> float:
        """Nats per token by which two losses of one sequence may differ with the requests beside it."""

    @property
    def path(self) -> str:
        """Description of the way losses are computed, for ``rt doctor`` and the manifest."""

    def encode(self, spans: Sequence[Span]) -> Sequence[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result without a number that says why there are none."""

    async def loss(self, span: EncodedSpan) -> SpanLoss:
        """Return the loss of one sequence. One attempt, without retries.

        An answer that arrives whole but has no loss of each target token gives the status ``no_prompt_logprobs``.

        Raises:
            StudentError: with the kind of failure.
        """

    async def aclose(self) -> None:
        """Release connections. The next call of :meth:`loss` may open new ones."""


class AsyncGeneratingStudent(AsyncStudent, Protocol):
    """A student behind a server that also answers questions, so that a teacher can ask it."""

    @property
    def structured(self) -> bool:
        """Return whether answers are held to the request's JSON schema; if not, prompts ask for markers."""

    async def answer(self, request: Request) -> Reply:
        """Answer one request. One attempt, without retries.

        Raises:
            TeacherError: with the kind of failure.
        """


def is_served(student: object) -> TypeGuard[AsyncStudent]:
    """Return whether a student is behind a server. Reads no property, since one may load a model."""
    return iscoroutinefunction(getattr(student, "loss", None))


def answers_served(student: object) -> TypeGuard[AsyncGeneratingStudent]:
    """Return whether a student behind a server also answers questions. Reads no property."""
    return is_served(student) and iscoroutinefunction(getattr(student, "answer", None))


class Executor(Protocol):
    """A place where the student's pure work runs: this process or another one."""

    @property
    def workers(self) -> int:
        """Number of pieces of work that run at the same time."""

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory of the student; it is called at the first work, on the worker."""

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* on the student and return what it returns. Work is pure and may be repeated."""

    def close(self) -> None:
        """Free the worker."""
