"""The scores of a whole data set, from which a selector chooses samples: some fifty bytes a sample, and no texts."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from rt_framework.kit.compact import CompactStrings, LazySequence, ScoreColumn
from rt_framework.model import Score, Scored, Version


class ScoreTable:
    """Sample ids, each with its scores; a text is read only when a selector asks for it.

    Args:
        metrics: names of the metrics; every sample has a score of each.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._ids = CompactStrings()
        self._columns = {metric: ScoreColumn() for metric in metrics}

    def append(self, sample_id: str, scores: Mapping[str, Score]) -> None:
        """Add a sample at the end."""
        self._ids.append(sample_id)
        for metric, column in self._columns.items():
            score = scores[metric]
            column.append(score.value, score.status, score.reason)

    def __len__(self) -> int:
        return len(self._ids)

    def position(self, sample_id: str, guess: int) -> int | None:
        """Return the position of a sample, ``None`` if it is not in the table; *guess* is tried first."""
        if guess < len(self._ids) and self._ids[guess] == sample_id:
            return guess
        order = self._order
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._ids[order[middle]] < sample_id else (low, middle)
        return order[low] if low < len(order) and self._ids[order[low]] == sample_id else None

    def scores(self, position: int) -> dict[str, Score]:
        """Return the scores of the sample at a position, by metric."""
        return {metric: Score(*column[position]) for metric, column in self._columns.items()}

    @cached_property
    def _order(self) -> array[int]:
        """Positions, sorted by sample id."""
        return array("Q", sorted(range(len(self._ids)), key=self._ids.__getitem__))

    def rows(
        self,
        numbers: Sequence[int],
        version: Callable[[int], Version],
        positions: Sequence[int] | None = None,
        extra: Callable[[int], Mapping[str, Any]] | None = None,
        vector: Callable[[int], Sequence[float] | None] | None = None,
    ) -> Sequence[Scored]:
        """Return the rows that a selector takes; each is made when it is accessed.

        Args:
            numbers: row number of each sample in the input, in the order of the result.
            version: reads the version of the sample at a place of the result; called when a selector asks for a text.
            positions: position in this table of each sample of the result; the table's own order when left out.
            extra: reads the columns of the sample at a place of the result; no columns when left out.
            vector: reads the vector of the sample at a place of the result; no vectors when left out.
        """

        def row(place: int) -> Scored:
            at = place if positions is None else positions[place]
            columns: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = (
                {} if extra is None else partial(extra, place)
            )
            of = None if vector is None else partial(vector, place)
            return Scored(self._ids[at], numbers[place], partial(version, place), self.scores(at), columns, of)

        return LazySequence(len(numbers), row)
