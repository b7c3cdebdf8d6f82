"""The protocols of questions to the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from rt_framework.model import Pair, Range, Reply, Request, Rewrite, Unparsed

T_co = TypeVar("T_co", covariant=True)


class Question(Protocol[T_co]):
    """A question to the teacher and the strict parsing of its answer. Pure; never uses the network."""

    rewrites: Sequence[str]
    """Parts of the pair that the answer rewrites: ``instruction``, ``response``; none for a judgement."""

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request for the *index*-th answer. A later request must differ from an earlier one."""

    def parse(self, pair: Pair, request: Request, reply: Reply) -> T_co | Unparsed:
        """Return the complete content of the answer, or the reason why it cannot be used."""


class Reflection(Question[Pair | Rewrite], Protocol):
    """A question whose answer is a new pair, perhaps with scores of it."""


@runtime_checkable
class QuestionInSteps(Question[T_co], Protocol[T_co]):
    """A question whose answer may lead to a further request of the same conversation. The extension is optional.

    Each request is reserved, paid for and committed by itself, so a run that is stopped in between asks only for what
    is missing. ``Question.parse`` is given the last request and its answer; ``Request.said`` has the answers before it.
    """

    @property
    def steps(self) -> int:
        """Most requests of one conversation, the first one included. A quote counts them all."""

    def follow(self, pair: Pair, request: Request, reply: Reply) -> Request | None:
        """Return the request that goes on with the conversation, or ``None`` if *reply* is its last answer.

        Pure, as ``render`` and ``parse`` are. ``request.then(reply, text)`` makes such a request: its messages are
        those of *request*, the answer, and then one or more turns of the user. Name, pair, index and draw stay what
        they were. With the answers left out, step n may hold at most n + 1 times what the first request holds, and no
        answer may be longer than the first one, because these bounds make the quote.
        """


@runtime_checkable
class SelectiveQuestion(Protocol):
    """A question that is not asked about every pair. The extension is optional; stages and quotes obey it."""

    def asks_about(self, pair: Pair) -> bool:
        """Return whether the question is asked about *pair*. Pure; it may look at the conversation, not at scores."""


def is_asked(question: Question[Any], pair: Pair) -> bool:
    """Return whether a question is asked about a pair.

    No rewrite is asked of a turn that calls tools: the calls are facts, which stay as they are.
    """
    asks_about = getattr(question, "asks_about", None)  # of a SelectiveQuestion
    if asks_about is None:
        return not (question.rewrites and pair.tool_calls)
    return bool(asks_about(pair))


@runtime_checkable
class Providing(Protocol):
    """A reflection or a stage that gives versions scores of its own. The extension is optional.

    Later stages read these scores by name, as they read those of metrics.
    """

    @property
    def provides(self) -> Mapping[str, Range]:
        """Names of the scores, which may not be those of metrics, and the range of their valid values."""
