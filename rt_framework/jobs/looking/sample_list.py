"""A list of the samples of a run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from rt_framework.errors import DataError
from rt_framework.results import FinishedRun, Listed, Wanted


def sample_list(run: FinishedRun, wanted: Wanted) -> Generator[Listed]:
    """Yield the samples of a run that are wanted.

    Raises:
        DataError: they are to be ordered by a metric of which no sample has a score.
    """
    with closing(run.listed(wanted)) as listed:
        for number, one in enumerate(listed):
            # A sample without a score comes last: if the first has none, there is none.
            if not number and wanted.by is not None and wanted.by not in one.scores:
                read = ", ".join(main_metrics(run)) or "none"
                raise DataError(f"{run.path}: no such sample has a score by '{wanted.by}'; the stages read: {read}")
            yield one


def main_metrics(run: FinishedRun, first: str | None = None) -> list[str]:
    """Return the names of the metrics that a run's stages read, after the *first* one if it is given."""
    read = [metric for stage in run.stages.values() for metric in (*stage.needs, *stage.bounds)]
    return list(dict.fromkeys([*([] if first is None else [first]), *read]))
