"""Spreads, the share of pairs in order, and refusals: what reports and packages count with."""

from __future__ import annotations

import random
import statistics

import pytest

from rt_framework.kit.refusals import refuses
from rt_framework.kit.spread import Spread, auc, quantile


def test_quartiles_are_those_of_the_standard_library():
    """Type 7, which it calls inclusive."""
    numbers = [random.Random(1).gauss(0, 1) for _ in range(37)]
    ordered = sorted(numbers)
    assert [quantile(ordered, part) for part in (0.25, 0.5, 0.75)] == pytest.approx(
        statistics.quantiles(numbers, n=4, method="inclusive")
    )
    spread = Spread.of(numbers)
    assert (spread.count, spread.mean) == (37, pytest.approx(statistics.fmean(numbers)))
    assert Spread.of([3.0]) == Spread(1, 3.0, 3.0, 3.0, 3.0)
    assert Spread.of([]) is None


def test_auc_counts_pairs():
    """As many as there are, ties half; equal sets 0.5, separate ones 0 and 1."""
    draw = random.Random(2)
    for _ in range(20):
        small, large = ([draw.randrange(8) for _ in range(draw.randrange(1, 12))] for _ in "ab")
        pairs = [(b > a) + (b == a) / 2 for a in small for b in large]
        assert auc(small, large) == pytest.approx(statistics.fmean(pairs))
    assert (auc([1, 2], [3, 4]), auc([3, 4], [1, 2]), auc([1, 2], [1, 2])) == (1, 0, 0.5)
    assert auc([], [1]) is None


def test_refusals_are_told_from_answers():
    """By how they begin."""
    assert refuses("I'm sorry, but I can't help with that.")
    assert refuses("As an AI language model, I do not have access to the internet.")
    assert not refuses("Sorry is a word of apology.")
