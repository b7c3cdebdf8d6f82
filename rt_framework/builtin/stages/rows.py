"""What a selection over a data set holds of its samples: ids, row numbers and scores, some fifty bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial

from rt_framework.kit.compact import CompactStrings, LazySequence, ScoreColumn
from rt_framework.model import Sample, Score, Scored, Version


def scored_rows(samples: Sequence[Sample], metrics: Sequence[str]) -> Sequence[Scored]:
    """The kept version of each sample with its scores; a text is read when it is asked for."""
    return LazySequence(len(samples), _Held(samples, metrics).row)


class _Held:
    """The rows without their texts."""

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
        """The row at a position, without its text for the time being."""
        scores = {metric: Score(*column[at]) for metric, column in self._scores.items()}
        return Scored(self._ids[at], self._numbers[at], partial(self._version, at), scores)

    def _version(self, at: int) -> Version:
        return self._samples[at].current
