"""The lines of a report about all samples, in columns: some three hundred bytes a sample, whatever its texts."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from attrs import frozen

from rt_framework.kit.compact import CompactStrings, LazySequence

T = TypeVar("T")


@frozen
class SampleLine:
    """One sample as the list shows it."""

    id: str
    row: int
    outcome: str
    kept: str
    why: str
    """Reason of a drop or failure with ``…`` for its numbers, so that like reasons compare equal; else empty."""
    head: str
    text: str
    """Hash of the pair that the sample ended with."""
    before: Mapping[str, float]
    """Scores of the original, by metric."""
    after: Mapping[str, float]
    """Scores of the version that the sample ended with, by metric."""
    length_before: int
    """Characters of the response."""
    length_after: int
    echo_before: float | None
    """Share of the instruction's word trigrams that stand in the response; ``None`` if there is none."""
    echo_after: float | None
    failed: tuple[str, ...]
    """Kinds of failure that the sample met."""
    near: bool
    """True if one of the sample's decisions is within numeric noise."""


@frozen
class Choosing:
    """A choice between the current version and a rewrite, with the differences that may explain it."""

    stage: str
    rewrite: bool
    """True if a rewrite won."""
    longer: int
    """Length of the rewrite's response minus that of the current version's, in characters."""
    echoes: float | None
    """Echo of the rewrite minus that of the current version; ``None`` if one of them has none."""


class Lines:
    """The lines of all samples."""

    def __init__(self) -> None:
        texts = {"id": CompactStrings(), "head": CompactStrings(), "text": CompactStrings()}
        whole = {name: array("Q") for name in ("row", "length_before", "length_after")}
        maybe = {name: _Maybe() for name in ("echo_before", "echo_after")}
        scores = {"before": _Scores(), "after": _Scores()}
        shared = {name: _Shared[Any]() for name in ("outcome", "kept", "why", "failed", "near")}
        self._columns: dict[str, Any] = {**texts, **whole, **maybe, **scores, **shared}

    def append(self, line: SampleLine) -> None:
        """Add a line at the end."""
        for name, column in self._columns.items():
            column.append(getattr(line, name))

    def all(self) -> Sequence[SampleLine]:
        """Return the lines so far. What is asked of a line is read from its column."""
        return LazySequence(len(self._columns["id"]), lambda at: cast("SampleLine", _Line(self._columns, at)))


class _Line:
    """A line that holds nothing but its place: most readers ask for one or two of its fields."""

    __slots__ = ("_at", "_columns")

    def __init__(self, columns: Mapping[str, Any], at: int) -> None:
        self._columns, self._at = columns, at

    def __getattr__(self, name: str) -> Any:
        column = self._columns.get(name)
        if column is None:
            raise AttributeError(name)
        return column[self._at]


class Choices:
    """All choices. Each is made anew when it is read."""

    def __init__(self) -> None:
        self._shared = _Shared[tuple[str, bool]]()
        self._longer = array("q")
        self._echoes = _Maybe()

    def append(self, choice: Choosing) -> None:
        """Add a choice at the end."""
        self._shared.append((choice.stage, choice.rewrite))
        self._longer.append(choice.longer)
        self._echoes.append(choice.echoes)

    def all(self) -> Sequence[Choosing]:
        """Return the choices so far."""
        return LazySequence(len(self._longer), self._choice)

    def _choice(self, at: int) -> Choosing:
        return Choosing(*self._shared[at], self._longer[at], self._echoes[at])


class _Shared(Generic[T]):
    """A list in which many values are equal: each is stored once."""

    def __init__(self) -> None:
        self._places: dict[T, int] = {}
        self._values: list[T] = []
        self._at = array("L")

    def append(self, value: T) -> None:
        """Add a value at the end."""
        place = self._places.setdefault(value, len(self._values))
        if place == len(self._values):
            self._values.append(value)
        self._at.append(place)

    def __getitem__(self, at: int) -> T:
        return self._values[self._at[at]]


class _Maybe:
    """Numbers, some of which are not known."""

    def __init__(self) -> None:
        self._numbers = array("d")

    def append(self, number: float | None) -> None:
        """Add a number at the end."""
        self._numbers.append(math.nan if number is None else number)

    def __getitem__(self, at: int) -> float | None:
        number = self._numbers[at]
        return None if math.isnan(number) else number


class _Scores:
    """The numbers of each sample, by metric."""

    def __init__(self) -> None:
        self._count = 0
        self._columns: dict[str, array[float]] = {}

    def append(self, numbers: Mapping[str, float]) -> None:
        """Add the numbers of the next sample."""
        for name in numbers:
            if name not in self._columns:
                self._columns[name] = array("d", [math.nan]) * self._count
        for name, column in self._columns.items():
            column.append(numbers.get(name, math.nan))
        self._count += 1

    def __getitem__(self, at: int) -> dict[str, float]:
        return {name: column[at] for name, column in self._columns.items() if not math.isnan(column[at])}
