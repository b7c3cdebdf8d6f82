"""Columns of the data that stages and selectors read besides the pair, kept on disk while a run is under way."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from attrs import evolve

from rt_framework.data import Spool
from rt_framework.errors import ConfigError
from rt_framework.kit.compact import LazySequence
from rt_framework.model import Record, Sample
from rt_framework.pipeline.steps import Step


class Columns:
    """The values of some columns, by row. Samples are given to stages with them.

    Args:
        names: the columns; without any, samples are passed on as they are.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = tuple(names)
        self._rows = array("Q")
        self._values: Spool[dict[str, Any]] = Spool()

    def close(self) -> None:
        """Remove the values from the disk."""
        self._values.close()

    def of(self, source: Iterable[tuple[Sample, Record]]) -> Iterator[Sample]:
        """Yield the samples of a source in order, each with its columns."""
        for sample, record in source:
            if not self._names:
                yield sample
                continue
            self._rows.append(sample.row)
            self._values.append({name: record.extra.get(name) for name in self._names})
            yield self.joined(sample)

    def joined(self, sample: Sample) -> Sample:
        """Return a sample with its columns, which are read when a stage asks for them."""
        return evolve(sample, extra=partial(self._read, sample.row))

    def all(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return samples that waited in the ledger with their columns."""
        if not self._names:
            return samples
        return LazySequence(len(samples), lambda place: self.joined(samples[place]))

    def _read(self, row: int) -> Mapping[str, Any]:
        # A copy in a read-only view: what a stage changes in it is no one else's.
        return MappingProxyType(self._values[bisect_left(self._rows, row)])


def columns_of(steps: Iterable[Step]) -> list[str]:
    """Return the names of the columns that stages read."""
    return list(dict.fromkeys(name for step in steps for name in step.columns))


def check_columns(steps: Iterable[Step], record: Record) -> None:
    """Check that the data has the columns that stages read, by one of its records.

    Raises:
        ConfigError: a column is missing.
    """
    for step in steps:
        missing = next((name for name in step.columns if name not in record.extra), None)
        if missing is not None:
            known = ", ".join(map(str, record.extra)) or "none besides those of the pair"
            raise ConfigError(f"stage '{step.name}' reads the column '{missing}', which the data lacks; it has {known}")
