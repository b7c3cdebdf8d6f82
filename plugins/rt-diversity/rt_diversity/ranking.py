"""Ranks by a metric, and how many to select. All orders end in the sample id, never in a row's place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from attrs import frozen

from rt_framework import Scored
from rt_framework.errors import ConfigError


@frozen
class Ranked:
    """The samples that have a valid score."""

    metric: str
    places: Sequence[int]
    """Their places among the rows, the best first."""
    ranks: Sequence[int]
    """The rank from 1 of the row at each place; 0 where there is no valid score."""

    def reason(self, row: Scored, place: int) -> str:
        """Return the rank of the row at a place in words, or the reason why it has none."""
        score = row.scores[self.metric]
        if self.ranks[place]:
            return f"rank {self.ranks[place]} of {len(self.places)} by {self.metric} ({score.value:.4g})"
        if score.value is None:
            return f"no {self.metric}: {score.reason or score.status}"
        return f"{self.metric} {score.value:.4g} cannot win: {score.reason or score.status}"


def ranked(rows: Sequence[Scored], metric: str, order: str) -> Ranked:
    """Rank the rows that have a valid score; of equal ones the smaller id is better."""
    sign = -1.0 if order == "higher" else 1.0
    keys: list[tuple[float, str, int]] = []
    for place, row in enumerate(rows):
        score = row.scores[metric]
        if score.eligible and score.value is not None:
            keys.append((sign * score.value, row.sample_id, place))
    places = [place for *_, place in sorted(keys)]
    ranks = [0] * len(rows)
    for rank, place in enumerate(places, 1):
        ranks[place] = rank
    return Ranked(metric, places, ranks)


def by_id(rows: Sequence[Scored], places: Iterable[int]) -> list[int]:
    """The places, ordered by sample id."""
    ids = {place: rows[place].sample_id for place in places}
    return sorted(ids, key=ids.__getitem__)


def size(share: float | None, count: int | None, total: int) -> int:
    """Number of samples to select of *total*, a share rounded up."""
    # As written in decimal: 0.07 × 100 is 7, while the product of the floats is just above it.
    wanted = math.ceil(Fraction(str(share)) * total) if count is None else count
    return min(wanted, total)


def check_size(name: str, fraction: float | None, count: int | None) -> None:
    """See that one of fraction and count, which the settings call *name*, is given and can be meant.

    Raises:
        ConfigError: it is not so.
    """
    if (fraction is None) == (count is None):
        raise ConfigError(f"give either fraction or {name}, and not both")
    if fraction is not None:
        check_share("fraction", fraction)
    if count is not None:
        check_least(name, count)


def check_share(name: str, value: float) -> None:
    """See that a share is in (0, 1].

    Raises:
        ConfigError: it is not.
    """
    if not 0 < value <= 1:
        raise ConfigError(f"{name} must be above 0 and at most 1, not {value:g}")


def check_least(name: str, value: int) -> None:
    """See that a number is at least 1.

    Raises:
        ConfigError: it is not.
    """
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")
