"""The metrics: each formula under its own name, and no number where there is none."""

from __future__ import annotations

import math

import pytest

from rt_framework.builtin.metrics.plain import Length, MeanLoss, Perplexity
from rt_framework.builtin.metrics.ratios import IFD, RIFD, IFDLoss, RIFDLoss
from rt_framework.config.builder import Builder
from rt_framework.plugin.host import Host
from rt_framework.spans import Loss

LOSSES = {"y|x": Loss(6.0, 3), "y": Loss(12.0, 4), "x|y": Loss(3.0, 2), "x": Loss(8.0, 4), "len(y)": Loss(None, 17)}
"""Means 2, 3, 1.5 and 2."""


@pytest.mark.parametrize(
    ("metric", "names", "value"),
    [
        (IFD(), {"y|x", "y"}, math.exp(2) / math.exp(3)),
        (IFDLoss(), {"y|x", "y"}, 2 / 3),
        (RIFD(), {"x|y", "x"}, math.exp(1.5) / math.exp(2)),
        (RIFDLoss(), {"x|y", "x"}, 1.5 / 2),
        (Perplexity(), {"y|x"}, math.exp(2)),
        (MeanLoss(), {"y|x"}, 2.0),
        (Length(), {"len(y)"}, 17.0),
    ],
)
def test_formulas(metric, names, value):
    """The value is that of the paper's formula, from the spans of that name alone."""
    assert metric.reduce({name: LOSSES[name] for name in names}) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("metric", [IFD(), RIFD()])
def test_a_ratio_of_perplexities_survives_huge_losses(metric):
    """exp(2000) has no float; the ratio of two such perplexities has."""
    losses = {name: Loss(2000.0 + more, 1) for name, more in (("y|x", 0), ("y", 1), ("x|y", 0), ("x", 1))}
    assert metric.reduce(losses) == pytest.approx(math.exp(-1))


@pytest.mark.parametrize(
    ("name", "direction", "inside", "outside"),
    [
        ("ifd", "higher", 0.999, 1.0),
        ("ifd-loss", "higher", 1.0, 1.001),
        ("r-ifd", "lower", 0.999, 1.0),
        ("r-ifd-loss", "lower", 1.0, 1.001),
    ],
)
def test_directions_and_ranges(name, direction, inside, outside):
    """Each metric says which side is better, and from which value on a pair counts as misaligned."""
    metric = Builder(Host())("metrics", name)
    assert metric.direction == direction
    assert inside in metric.valid
    assert outside not in metric.valid


@pytest.mark.parametrize("name", ["ppl", "loss", "length"])
def test_measures_have_no_better_side(name):
    """They are for reports and controls; every value is valid."""
    metric = Builder(Host())("metrics", name)
    assert metric.direction == "none"
    assert 1e9 in metric.valid


def test_both_kinds_of_ratio_fall_on_the_same_side_of_one_and_rank_differently():
    """The two kinds put the same two pairs in opposite orders, so their names must differ."""
    easy = {"y|x": Loss(1.0, 1), "y": Loss(1.5, 1)}
    hard = {"y|x": Loss(6.0, 1), "y": Loss(7.0, 1)}
    assert IFD().reduce(easy) > IFD().reduce(hard)
    assert IFDLoss().reduce(easy) < IFDLoss().reduce(hard)
    assert all(metric.reduce(losses) < 1 for metric in (IFD(), IFDLoss()) for losses in (easy, hard))
