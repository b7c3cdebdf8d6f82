"""The two sides of a comparison: data files with the scores of ``rt score``, or the samples that a run kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework import Pair, Score
from rt_framework.cli.options import Data, Host, open_source
from rt_framework.errors import ConfigError, DataError
from rt_framework.jobs.score_file import score_lines
from rt_framework.kit.score_table import ScoreTable
from rt_framework.results import holds_run, open_run


@frozen
class ComparedSample:
    """One sample of a side."""

    id: str
    """Id of the original sample, also where a rewrite of it was kept."""
    pair: Pair
    scores: Mapping[str, float | None]


@frozen
class Side:
    """A data set that is compared."""

    path: Path
    is_run: bool
    rows: Callable[[], Iterator[ComparedSample]]
    """Function that reads the samples anew at each call."""
    scored: bool
    """True if the side has a source of scores."""
    scored_by: Mapping[str, Any] | None
    """Student and scoring rules behind the scores, as far as they are known."""
    lender: Path | None = None
    """The run from which the scores of the side's samples are taken, if it is another."""


def open_side(host: Host, data: Data, scores: Path | None) -> Side:
    """Return the side of a data file, with the scores that ``rt score`` wrote for it, if any, or of what a run kept.

    Raises:
        DataError: the data cannot be read, or is a run that is not at its end.
        ConfigError: scores are given for a run, which has its own.
    """
    path = Path(data.path)
    if holds_run(path):
        if scores is not None:
            raise ConfigError(f"{path} is a run directory, which has its scores: give none for it")
        return _run_side(path)
    source = open_source(host, data)
    lines = None if scores is None else _Lines(scores)

    def rows() -> Iterator[ComparedSample]:
        for place, sample in enumerate(source.samples()):
            numbers = {} if lines is None else lines.of(sample.id, place) or {}
            yield ComparedSample(sample.id, sample.original.pair, numbers)

    if lines is not None and all(lines.of(one.id, place) is None for place, one in enumerate(source.samples())):
        raise DataError(f"{scores}: no line is about a sample of {path}; score it again with 'rt score'")
    scored_by = None if scores is None else _facts(scores.with_name(f"{scores.name}.rt"))
    return Side(path, False, rows, scores is not None, scored_by)


def lent(side: Side, run: Side) -> Side:
    """Return *side* with the scores that *run* has of its original samples; unchanged if there are none.

    This serves a file without scores beside a run that read it: only what the run has scored is known.
    """
    if side.scored or not run.is_run:
        return side

    def rows() -> Iterator[ComparedSample]:
        with open_run(run.path) as opened:
            for row in side.rows():
                yield evolve(row, scores=opened.original_scores(row.id))

    if not any(row.scores for row in rows()):
        return side
    return evolve(side, rows=rows, scored=True, scored_by=run.scored_by, lender=run.path)


def _run_side(path: Path) -> Side:
    def rows() -> Iterator[ComparedSample]:
        with open_run(path) as run:
            for history in run:
                if history.is_waiting:
                    raise DataError(f"{path}: row {history.sample.row} is not at its end; finish the run first")
                if history.is_kept:
                    sample = history.sample
                    scores = sample.scores.get(sample.kept, {})
                    yield ComparedSample(
                        sample.id, sample.current.pair, {name: one.value for name, one in scores.items()}
                    )

    if next(rows(), None) is None:
        raise DataError(f"{path}: a run directory in which no sample was kept")
    return Side(path, True, rows, True, _facts(path))


def _facts(run_dir: Path) -> Mapping[str, Any] | None:
    """Return the student and scoring rules behind the scores of a directory, if they can be known."""
    if not holds_run(run_dir):
        return None
    with open_run(run_dir) as run:
        facts = {key: run.facts[key] for key in ("student", "scoring") if key in run.facts}
    return facts or None


class _Lines:
    """The numbers of all lines of a file that ``rt score`` wrote: some fifty bytes a line.

    Args:
        path: the file.

    Raises:
        DataError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._metrics = sorted({name for line in score_lines(path) for name in line.metrics})
        self._table = ScoreTable(self._metrics)
        for line in score_lines(path):
            self._table.append(line.id, {name: Score(line.metrics.get(name)) for name in self._metrics})

    def of(self, sample_id: str, guess: int) -> dict[str, float | None] | None:
        """Return the numbers of a sample by metric; ``None`` if it has no line. *guess* is the likely line."""
        position = self._table.position(sample_id, guess)
        if position is None:
            return None
        return {name: score.value for name, score in self._table.scores(position).items()}


def prompt_key(pair: Pair) -> str:
    """Return a hash of everything that the response answers."""
    return evolve(pair, response="", reasoning=None, tool_calls=(), after=()).hash
