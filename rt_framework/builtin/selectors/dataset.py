"""Selectors between the samples of a data set. A sample without a valid score is never selected by score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from attrs import frozen

from rt_framework.builtin.selectors.matching import LengthPool, draw, length
from rt_framework.builtin.selectors.scores import lacking, shown, valid
from rt_framework.builtin.selectors.settings import (
    LengthMatchedSettings,
    RandomSettings,
    ThresholdSettings,
    TopSettings,
)
from rt_framework.errors import ConfigError
from rt_framework.model import Range, Scored, Verdict


def _check_size(fraction: float | None, count: int | None) -> None:
    if (fraction is None) == (count is None):
        raise ConfigError("give either fraction or count, and not both")
    if fraction is not None and not 0 < fraction <= 1:
        raise ConfigError(f"fraction must be above 0 and at most 1, not {fraction:g}")
    if count is not None and count < 1:
        raise ConfigError(f"count must be at least 1, not {count}")


def _size(fraction: float | None, count: int | None, total: int) -> int:
    """Number of samples to select, rounded up: a share that rounds to 0 must not become all or none."""
    if count is not None:
        return count
    # As written in decimal: 0.07 × 100 is 7, while the product of the floats is just above it.
    return math.ceil(Fraction(str(fraction)) * total)


def _verdicts(rows: Sequence[Scored], kept: Mapping[int, str], left: Mapping[int, str], metric: str) -> list[Verdict]:
    """Verdicts in row order; a row with no reason of its own has no valid score."""
    return [
        Verdict(True, kept[place])
        if place in kept
        else Verdict(False, left[place] if place in left else lacking(metric, row.scores[metric]))
        for place, row in enumerate(rows)
    ]


def _ranked(rows: Sequence[Scored], settings: TopSettings) -> tuple[dict[int, float], int]:
    """Position and value of the samples with a valid score, best first, and how many of them are selected."""
    sign = -1.0 if settings.order == "higher" else 1.0
    found = ((place, valid(row, settings.metric)) for place, row in enumerate(rows))
    scored = [(place, value) for place, value in found if value is not None]
    scored.sort(key=lambda item: (sign * item[1], rows[item[0]].row))
    total = len(scored) if settings.of == "valid" else len(rows)
    return dict(scored), min(_size(settings.fraction, settings.count, total), len(scored))


@frozen
class Top:
    """The best samples by a metric. Of equal ones the earlier row ranks first.

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

    def select(self, rows: Sequence[Scored]) -> list[Verdict]:
        """Rank the samples that have a valid score and select the first ones."""
        values, size = _ranked(rows, self.settings)
        metric = self.settings.metric
        ranks = [
            (place, f"rank {rank} of {len(values)} by {metric} ({shown(value)})")
            for rank, (place, value) in enumerate(values.items(), start=1)
        ]
        left = {place: f"{reason}; the first {size} are selected" for place, reason in ranks[size:]}
        return _verdicts(rows, dict(ranks[:size]), left, metric)


@frozen
class LengthMatched:
    """A control for :class:`Top`: other samples whose responses are as long as those that it selects.

    For each sample that ``top`` selects with the same options, best first, the sample with the nearest
    response length in characters is taken, from those with a valid score that ``top`` does not
    select. Where too few of these are left, the rest comes from ``top``'s own, and the reason says so.

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

    def select(self, rows: Sequence[Scored]) -> list[Verdict]:
        """Select as many samples as ``top`` does, matched in length."""
        values, size = _ranked(rows, self.settings)
        order = list(values)
        kept = self._matches(rows, order[:size], order[size:])
        by = f"the top {size} by {self.settings.metric}"
        left = dict.fromkeys(order[size:], f"not the nearest in length to any of {by}")
        left |= dict.fromkeys(order[:size], f"among {by}")
        return _verdicts(rows, kept, left, self.settings.metric)

    def _matches(self, rows: Sequence[Scored], top: Sequence[int], others: Sequence[int]) -> dict[int, str]:
        """A reason for each position taken."""
        seed = self.settings.seed
        outside = LengthPool(((place, rows[place]) for place in others), seed)
        inside = LengthPool(((place, rows[place]) for place in top), seed)
        reasons = {}
        for rank, place in enumerate(top, start=1):
            wanted, scarce = length(rows[place]), not outside
            taken = (inside if scarce else outside).take(wanted)
            note = "; taken from the top itself, too few others are left" if scarce else ""
            reasons[taken] = (
                f"{length(rows[taken])} characters, for {wanted} of rank {rank} by {self.settings.metric}{note}"
            )
        return reasons


@frozen
class Threshold:
    """Every sample whose value of a metric lies within the bounds.

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
    def _range(self) -> Range:
        own = self.settings
        return Range(own.below, own.at_most, own.above, own.at_least)

    def select(self, rows: Sequence[Scored]) -> list[Verdict]:
        """Judge each sample by itself."""
        return [self._verdict(row) for row in rows]

    def _verdict(self, row: Scored) -> Verdict:
        metric = self.settings.metric
        value = valid(row, metric)
        if value is None:
            return Verdict(False, lacking(metric, row.scores[metric]))
        keep = value in self._range
        return Verdict(keep, f"{metric} {shown(value)} is {'' if keep else 'not '}{self._range}")


@frozen
class Random:
    """A random subset of all samples, drawn by a hash of seed and sample id.

    A sample's place in the draw depends on no other sample: a row added to the input replaces at
    most one of those selected before.

    Raises:
        ConfigError: not exactly one of fraction and count, or one outside its range.
    """

    settings: RandomSettings

    def __attrs_post_init__(self) -> None:
        _check_size(self.settings.fraction, self.settings.count)

    @property
    def needs(self) -> tuple[str, ...]:
        """No metric."""
        return ()

    def select(self, rows: Sequence[Scored]) -> list[Verdict]:
        """Draw the subset."""
        draws = sorted((draw(row, self.settings.seed), place) for place, row in enumerate(rows))
        size = min(_size(self.settings.fraction, self.settings.count, len(rows)), len(rows))
        kept = {place for _, place in draws[:size]}
        reason = f"drawn among {size} of {len(rows)} with seed {self.settings.seed}"
        return [Verdict(place in kept, ("" if place in kept else "not ") + reason) for place in range(len(rows))]
