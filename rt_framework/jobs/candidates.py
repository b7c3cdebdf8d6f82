"""Samples to select from, with their scores: a data file, or the samples that a run kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from rt_framework.data import Source
from rt_framework.errors import ConfigError, DataError, RtError
from rt_framework.jobs.score_file import ScoreLine, score_lines
from rt_framework.kit.score_table import ScoreTable
from rt_framework.model import Record, Score
from rt_framework.protocols import Metric
from rt_framework.results import FinishedRun
from rt_framework.rundir import SCORES, read_manifest
from rt_framework.scoring import PRESETS


class Candidates(Protocol):
    """Samples to select from."""

    source: Source
    """The data that the samples come from."""
    scores: Path
    """Place of their scores, for messages."""
    note: str
    """Remark for the user on how the scores were read; empty if there is none."""
    whole: bool
    """True if the samples are all of the data, so that the others of a selection include rows that cannot be read."""

    def table(self, metrics: Mapping[str, Metric]) -> ScoreTable:
        """Return the scores of all samples by these metrics.

        Raises:
            ConfigError: there are no scores.
            DataError: a score is missing or broken.
        """

    def records(self, source: Source) -> Iterator[tuple[str, int, Record]]:
        """Yield id, row number and record of each sample; *source* is the data as an earlier reading has found it."""


class Rows:
    """The samples of a data file without scores, for a selector that reads none.

    Args:
        source: the samples.
    """

    whole = True

    def __init__(self, source: Source) -> None:
        self.source = source
        self.scores = Path(source.name)
        self.note = ""

    def table(self, metrics: Mapping[str, Metric]) -> ScoreTable:
        """Return a table of the ids alone.

        Raises:
            ConfigError: a metric is asked for.
        """
        if metrics:
            raise ConfigError(f"the selector reads {', '.join(metrics)}: give the output of 'rt score' with --scores")
        table = ScoreTable(())
        for sample in self.source.samples():
            table.append(sample.id, {})
        return table

    def records(self, source: Source) -> Iterator[tuple[str, int, Record]]:
        """Yield id, row number and record of each sample."""
        return ((sample.id, sample.row, record) for sample, record in source)


class ScoredRows(Rows):
    """The samples of a data file with a file of scores, which are read by the rules of the preset that they come from.

    Args:
        source: the samples.
        scores: output of ``rt score`` for them.
    """

    def __init__(self, source: Source, scores: Path) -> None:
        super().__init__(source)
        self.scores = scores
        self._binds = _range_binds(scores)
        self._outside = 0

    def table(self, metrics: Mapping[str, Metric]) -> ScoreTable:
        """Read all scores.

        Raises:
            DataError: a line is broken or duplicate, or lacks a metric.
        """
        table = ScoreTable(list(metrics))
        for line in score_lines(self.scores):
            table.append(line.id, {name: self._score(line, name, metric) for name, metric in metrics.items()})
        if self._outside and self._binds is None:
            self.note = (
                f"; {self._outside} values outside their metric's range cannot win: {self.scores}.rt, which tells the "
                "preset that they were scored with, cannot be read"
            )
        return table

    def _score(self, line: ScoreLine, name: str, metric: Metric) -> Score:
        if name not in line.metrics:
            way_out = f"run 'rt score' with --metric {name}"
            raise DataError(f"{self.scores}: no metric '{name}' here; {way_out}; line {line.number} has none")
        value = line.metrics[name]
        if value is None:
            return Score(None, line.status, f"{name} has no value")
        if value in metric.valid:
            return Score(value)
        self._outside += 1
        return Score(value) if self._binds is False else Score(value, "out_of_range", f"not {metric.valid}")


class KeptSamples:
    """The samples that a run kept, as it wrote them, with the scores of the versions that they ended with.

    Args:
        run: the run.
    """

    note = ""
    whole = False

    def __init__(self, run: FinishedRun) -> None:
        self._run = run
        self.source = run.source
        self.scores = run.path / SCORES

    def table(self, metrics: Mapping[str, Metric]) -> ScoreTable:
        """Return the scores that the run has of the kept versions.

        Raises:
            DataError: a kept version has no score by a metric.
        """
        table = ScoreTable(list(metrics))
        for history in self._run:
            if history.is_kept:
                scores = history.sample.scores.get(history.sample.kept, {})
                missing = next((name for name in metrics if name not in scores), None)
                if missing is not None:
                    raise DataError(
                        f"{self._run.path}: row {history.sample.row} (from 0) was kept without a score '{missing}': "
                        f"add 'measure: [{missing}]' to the pipeline and run again; no answer is paid for twice"
                    )
                table.append(history.sample.id, {name: scores[name] for name in metrics})
        return table

    def records(self, source: Source) -> Iterator[tuple[str, int, Record]]:  # noqa: ARG002 - the run opens its own
        """Yield id, row number and record of each kept sample."""
        kept = (history.sample for history in self._run if history.is_kept)
        pairs = zip(kept, self._run.records(kept=True), strict=True)
        return ((sample.id, sample.row, record) for sample, record in pairs)


def _range_binds(scores: Path) -> bool | None:
    """Return whether values outside a metric's range lose, by the scores' preset; ``None`` if the preset is unknown."""
    try:
        found = PRESETS.get(read_manifest(scores.with_name(f"{scores.name}.rt"))["frozen"]["scoring"]["preset"])
    except (RtError, KeyError, TypeError):
        return None
    return None if found is None else found.range_binds
