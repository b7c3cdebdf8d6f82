"""Selectors between the samples of a data set. A sample without a valid score is never selected by score."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from fractions import Fraction

from attrs import frozen

from rt_framework.builtin.selectors.scores import lacking, shown, valid
from rt_framework.builtin.selectors.settings import (
    LengthMatchedSettings,
    RandomSettings,
    ThresholdSettings,
    TopSettings,
)
from rt_framework.errors import ConfigError
from rt_framework.kit.compact import LazySequence
from rt_framework.kit.echo import echo_of
from rt_framework.kit.length_pool import LengthPool, draw, length
from rt_framework.model import Range, Scored, Verdict


def _check_size(fraction: float | None, count: int | None) -> None:
    if (fraction is None) == (count is None):
        raise ConfigError("give either fraction or count, and not both")
    if fraction is not None and not 0 < fraction <= 1:
        raise ConfigError(f"fraction must be above 0 and at most 1, not {fraction:g}")
    if count is not None and count < 1:
        raise ConfigError(f"count must be at least 1, not {count}")


def _size(fraction: float | None, count: int | None, total: int) -> int:
    """Return the number of samples to select, rounded up: a share that rounds to 0 must not become all or none."""
    if count is not None:
        return count
    # Computed with the decimal fraction as written: 0.07 × 100 is 7, but the product of the floats is slightly above 7.
    return math.ceil(Fraction(str(fraction)) * total)


def _ranked(rows: Sequence[Scored], settings: TopSettings) -> tuple[array[int], int]:
    """Return the positions of the samples with a valid score, best first, and how many of them are selected."""
    sign = -1.0 if settings.order == "higher" else 1.0
    places, numbers, values = array("Q"), array("Q"), array("d")
    for place, row in enumerate(rows):
        value = valid(row, settings.metric)
        if value is not None:
            places.append(place)
            numbers.append(row.row)
            values.append(sign * value)
    # Two stable sorts, because one sort by both keys would need a tuple per row.
    order = sorted(range(len(places)), key=numbers.__getitem__)
    order.sort(key=values.__getitem__)
    total = len(places) if settings.of == "valid" else len(rows)
    best = array("Q", (places[position] for position in order))
    return best, min(_size(settings.fraction, settings.count, total), len(best))


def _ranks(order: Sequence[int], total: int) -> array[int]:
    """Return the rank, from 1, of each position; 0 for a position that is not ranked."""
    ranks = array("Q", [0]) * total
    for rank, place in enumerate(order, start=1):
        ranks[place] = rank
    return ranks


@frozen
class Top:
    """Selector of the best samples by a metric. Among equal scores the earlier row ranks first.

    Raises:
        ConfigError: not exactly one of fraction and count, or one outside its range.
    """

    settings: TopSettings

    def __attrs_post_init__(self) -> None:
        _check_size(self.settings.fraction, self.settings.count)

    @property
    def needs(self) -> tuple[str, ...]:
        """The ranking metric."""
        return (self.settings.metric,)

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Rank the samples that have a valid score and select the first ones."""
        order, size = _ranked(rows, self.settings)
        ranks = _ranks(order, len(rows))
        return LazySequence(
            len(rows), lambda position: self._verdict(rows[position], ranks[position], len(order), size)
        )

    def _verdict(self, row: Scored, rank: int, ranked: int, size: int) -> Verdict:
        metric = self.settings.metric
        value = valid(row, metric)
        if value is None:
            return Verdict(False, lacking(metric, row.scores[metric]))
        reason = f"rank {rank} of {ranked} by {metric} ({shown(value)})"
        return Verdict(True, reason) if rank <= size else Verdict(False, f"{reason}; the first {size} are selected")


@frozen
class LengthMatched:
    """A control for :class:`Top`: other samples with responses as long as those that it selects.

    For each sample that ``top`` selects with the same options, best first, the sample with the nearest response length
    in characters is taken, from those with a valid score that ``top`` does not select. Where too few of these are left,
    the rest comes from the selection of ``top``, and the reason says so.

    Raises:
        ConfigError: as for :class:`Top`.
    """

    settings: LengthMatchedSettings

    def __attrs_post_init__(self) -> None:
        _check_size(self.settings.fraction, self.settings.count)

    @property
    def needs(self) -> tuple[str, ...]:
        """The ranking metric."""
        return (self.settings.metric,)

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Select as many samples as ``top`` does, matched in length."""
        return _matched(rows, self.settings, _CHARACTERS)


@frozen
class EchoMatched(LengthMatched):
    """A control for :class:`Top`: other samples with as much echo as those that it selects, taken in the same way."""

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Select as many samples as ``top`` does, matched in echo."""
        return _matched(rows, self.settings, _ECHO)


@frozen
class _Trait:
    """A property of a sample by which others are matched to it, as a whole number."""

    name: str
    of: Callable[[Scored], int]
    number: Callable[[int], str]
    phrase: str
    """Words around the number in reasons."""


def _thousandths(row: Scored) -> int:
    share = echo_of(row.version.pair)
    return 0 if share is None else round(1000 * share)


_CHARACTERS = _Trait("length", length, str, "{} characters")
_ECHO = _Trait("echo", _thousandths, lambda value: f"{value / 1000:.3f}", "echo {}")


def _matched(rows: Sequence[Scored], settings: LengthMatchedSettings, trait: _Trait) -> Sequence[Verdict]:
    order, size = _ranked(rows, settings)
    return LazySequence(len(rows), _Matches(rows, order, size, settings, trait).verdict)


class _Matches:
    """The matched samples, and for each the sample of the top that it was taken for."""

    def __init__(
        self, rows: Sequence[Scored], order: Sequence[int], size: int, settings: LengthMatchedSettings, trait: _Trait
    ) -> None:
        self._rows = rows
        self._trait = trait
        self._order = order
        self._size = size
        self._metric = settings.metric
        self._ranks = _ranks(order, len(rows))
        self._values = array("Q", [0]) * len(rows)
        for place in order:
            self._values[place] = trait.of(rows[place])
        self._matched = _ranks(self._taken(lambda position: draw(rows[position], settings.seed)), len(rows))

    def _taken(self, luck: Callable[[int], str]) -> array[int]:
        """Return the position taken for each rank of the top."""
        outside = LengthPool(self._order[self._size :], self._values, luck)
        inside = LengthPool(self._order[: self._size], self._values, luck)
        return array("Q", ((outside or inside).take(self._values[place]) for place in self._order[: self._size]))

    def verdict(self, position: int) -> Verdict:
        """Return the verdict on the sample at a position."""
        rank, by = self._matched[position], f"the top {self._size} by {self._metric}"
        if rank:
            return Verdict(True, self._reason(position, rank))
        if self._ranks[position] > self._size:
            return Verdict(False, f"not the nearest in {self._trait.name} to any of {by}")
        if self._ranks[position]:
            return Verdict(False, f"among {by}")
        return Verdict(False, lacking(self._metric, self._rows[position].scores[self._metric]))

    def _reason(self, position: int, rank: int) -> str:
        scarce = rank > len(self._order) - self._size
        note = "; taken from the top itself, because too few other samples are left" if scarce else ""
        own, wanted = (self._trait.number(self._values[at]) for at in (position, self._order[rank - 1]))
        return f"{self._trait.phrase.format(own)}, matched to the {wanted} of rank {rank} by {self._metric}{note}"


@frozen
class Threshold:
    """Selector of every sample whose value of a metric lies within the bounds.

    Raises:
        ConfigError: no bound is given.
    """

    settings: ThresholdSettings

    def __attrs_post_init__(self) -> None:
        if self._range == Range():
            raise ConfigError("give at least one of below, at_most, above, at_least")

    @property
    def needs(self) -> tuple[str, ...]:
        """The metric compared."""
        return (self.settings.metric,)

    @property
    def bounds(self) -> dict[str, Range]:
        """Bounds by metric."""
        return {self.settings.metric: self._range}

    @property
    def _range(self) -> Range:
        settings = self.settings
        return Range(settings.below, settings.at_most, settings.above, settings.at_least)

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Judge each sample by itself."""
        return LazySequence(len(rows), lambda position: self._verdict(rows[position]))

    def _verdict(self, row: Scored) -> Verdict:
        metric = self.settings.metric
        value = valid(row, metric)
        if value is None:
            return Verdict(False, lacking(metric, row.scores[metric]))
        keep = value in self._range
        return Verdict(keep, f"{metric} {shown(value)} is {'' if keep else 'not '}{self._range}")


@frozen
class Random:
    """Selector of a random subset of all samples, drawn by a hash of seed and sample id.

    A sample's place in the draw depends on no other sample: a row added to the input replaces at most one of those
    selected before.

    Raises:
        ConfigError: not exactly one of fraction and count, or one outside its range.
    """

    settings: RandomSettings

    def __attrs_post_init__(self) -> None:
        _check_size(self.settings.fraction, self.settings.count)

    @property
    def needs(self) -> tuple[str, ...]:
        """The empty tuple, since no metric is read."""
        return ()

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Draw the subset."""
        draws = sorted(range(len(rows)), key=lambda position: int(draw(rows[position], self.settings.seed), 16))
        size = min(_size(self.settings.fraction, self.settings.count, len(rows)), len(rows))
        kept = bytearray(len(rows))
        for place in draws[:size]:
            kept[place] = True
        reason = f"among the {size} of {len(rows)} drawn with seed {self.settings.seed}"
        return LazySequence(
            len(rows), lambda position: Verdict(bool(kept[position]), ("" if kept[position] else "not ") + reason)
        )
