"""The lines of a report about all samples, in columns: some three hundred bytes a sample, whatever its texts."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

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
    """The lines of all samples. Each is made anew when it is read."""

    def __init__(self) -> None:
        self._ids, self._heads = CompactStrings(), CompactStrings()
        self._texts = bytearray()
        self._shared = _Shared[tuple[Any, ...]]()
        self._whole = array("Q")
        """Row and both lengths of each line."""
        self._echoes = array("d")
        self._scores = (_Scores(), _Scores())

    def append(self, line: SampleLine) -> None:
        """Add a line at the end."""
        for scores, numbers in zip(self._scores, (line.before, line.after), strict=True):
            scores.append(numbers)
        self._ids.append(line.id)
        self._heads.append(line.head)
        self._texts += bytes.fromhex(line.text)
        self._shared.append((line.outcome, line.kept, line.why, line.failed, line.near))
        self._whole.extend((line.row, line.length_before, line.length_after))
        self._echoes.extend(math.nan if echo is None else echo for echo in (line.echo_before, line.echo_after))

    def all(self) -> Sequence[SampleLine]:
        """Return the lines so far."""
        return LazySequence(len(self._ids), self._line)

    def _line(self, at: int) -> SampleLine:
        outcome, kept, why, failed, near = self._shared[at]
        row, length_before, length_after = self._whole[3 * at : 3 * at + 3]
        echo_before, echo_after = (None if math.isnan(echo) else echo for echo in self._echoes[2 * at : 2 * at + 2])
        before, after = (scores[at] for scores in self._scores)
        width = len(self._texts) // len(self._ids)
        return SampleLine(
            id=self._ids[at],
            row=row,
            outcome=outcome,
            kept=kept,
            why=why,
            head=self._heads[at],
            text=self._texts[width * at : width * (at + 1)].hex(),
            before=before,
            after=after,
            length_before=length_before,
            length_after=length_after,
            echo_before=echo_before,
            echo_after=echo_after,
            failed=failed,
            near=near,
        )


class Choices:
    """All choices. Each is made anew when it is read."""

    def __init__(self) -> None:
        self._shared = _Shared[tuple[str, bool]]()
        self._longer = array("q")
        self._echoes = array("d")

    def append(self, choice: Choosing) -> None:
        """Add a choice at the end."""
        self._shared.append((choice.stage, choice.rewrite))
        self._longer.append(choice.longer)
        self._echoes.append(math.nan if choice.echoes is None else choice.echoes)

    def all(self) -> Sequence[Choosing]:
        """Return the choices so far."""
        return LazySequence(len(self._longer), self._choice)

    def _choice(self, at: int) -> Choosing:
        echoes = self._echoes[at]
        return Choosing(*self._shared[at], self._longer[at], None if math.isnan(echoes) else echoes)


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
        numbers = {name: column[at] for name, column in self._columns.items()}
        return {name: number for name, number in numbers.items() if not math.isnan(number)}
