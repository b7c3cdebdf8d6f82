"""The protocols of selectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from rt_framework.model import Choice, Scored, Verdict


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
