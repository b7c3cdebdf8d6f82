"""Compact rows of a data set for a selection: ids, row numbers and scores, some fifty bytes per sample."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial

from rt_framework.kit.compact import CompactStrings, LazySequence, ScoreColumn
from rt_framework.model import Sample, Score, Scored, Version


def scored_rows(samples: Sequence[Sample], metrics: Sequence[str]) -> Sequence[Scored]:
    """Return the kept version of each sample with its scores; a text is read only when it is accessed."""
    return LazySequence(len(samples), _Held(samples, metrics).row)


class _Held:
    """The rows without their texts, which are read from the samples when they are accessed."""

    def __init__(self, samples: Sequence[Sample], metrics: Sequence[str]) -> None:
        self._samples = samples
        self._ids = CompactStrings()
        self._numbers = array("Q")
        self._scores = {metric: ScoreColumn() for metric in metrics}
        for sample in samples:
            self._ids.append(sample.id)
            self._numbers.append(sample.row)
            for metric, column in self._scores.items():
                score = sample.scores[sample.kept][metric]
                column.append(score.value, score.status, score.reason)

    def row(self, at: int) -> Scored:
        """Return the row at a position; its text is not read yet."""
        scores = {metric: Score(*column[at]) for metric, column in self._scores.items()}
        return Scored(self._ids[at], self._numbers[at], partial(self._version, at), scores)

    def _version(self, at: int) -> Version:
        return self._samples[at].current
