"""The protocols of questions to the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

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
class Providing(Protocol):
    """A reflection or a stage that gives versions scores of its own. The extension is optional.

    Later stages read these scores by name, as they read those of metrics.
    """

    @property
    def provides(self) -> Mapping[str, Range]:
        """Names of the scores, which may not be those of metrics, and the range of their valid values."""
