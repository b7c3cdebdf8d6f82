"""The protocols of selectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rt_framework.model import Choice, Pair, Scored, Verdict
from rt_framework.protocols.metrics import Frame
from rt_framework.spans import Span


class Selector(Protocol):
    """A plugin that chooses between the versions of one sample."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics that the selector reads."""

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Decide between the candidates. The current version comes first; there are at least two candidates."""


@runtime_checkable
class ColumnReader(Protocol):
    """A selector or a stage that reads columns of the data besides the pair. The extension is optional."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns; ``Scored.extra`` and ``Sample.extra`` then hold their values."""


@runtime_checkable
class VectorReader(Protocol):
    """A selector or a stage over the data set that reads a vector of each sample. The extension is optional.

    The vector is the mean of the main student's last hidden states, see :class:`EmbeddingStudent`.
    """

    @property
    def embeds(self) -> Callable[[Pair, Frame], Sequence[Span]] | None:
        """Function that returns the spans of a pair over whose target tokens the mean is taken; ``None`` for no vector.

        Most have a method ``embeds(self, pair, frame)``. It is pure, and raises ``Unscorable`` for a pair without a
        vector. ``Scored.vector`` and ``Sample.vector`` then hold the vectors.
        """


class DatasetSelector(Protocol):
    """A plugin that chooses between the samples of a data set."""

    @property
    def needs(self) -> Sequence[str]:
        """Names of the metrics that the selector reads."""

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Decide on every sample, in the order given.

        The items of *rows* are made at each access: ids and scores are in memory, a version is read from the disk. The
        verdicts may be made at access as well, see :class:`rt_framework.kit.compact.LazySequence`.
        """
