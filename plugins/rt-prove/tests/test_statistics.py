"""The statistics, against numbers worked by hand and against proofs whose truth is known."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from rt_prove.statistics import mean_difference

PROOFS = 2000
NOISE = [(0.0, 0.02), (0.002, 0.02), (0.01, 0.02), (0.02, 0.05), (0.05, 0.02)]
"""Standard deviations between seeds, from none to half of that between prompts (0.1), and of what is left."""


def proofs(seeds, between, rest, effect=0.0, prompts=50):
    """Tables of differences: prompts differ, seeds differ, and each training meets each prompt in a way of its own."""
    random = np.random.default_rng(7)
    return (
        effect
        + 0.1 * random.standard_normal((PROOFS, prompts, 1))
        + between * random.standard_normal((PROOFS, 1, seeds))
        + rest * random.standard_normal((PROOFS, prompts, seeds))
    )


def test_a_table_worked_by_hand():
    """Two prompts, two seeds: 1 3 / 2 8."""
    found = mean_difference(np.array([[1.0, 3.0], [2.0, 8.0]]))
    # Prompts 2 and 5, seeds 1.5 and 5.5, residuals ±1: mean square 4 of one degree of freedom.
    of_prompts = (4.5 - 4 / 2) / 2
    of_seeds = 8 / 2
    error = math.sqrt(of_prompts + of_seeds)  # 2.291
    # Both parts have one degree of freedom, so the weighted quantile is that of one: 12.706.
    share = of_seeds / (of_prompts + of_seeds)
    freedom = 1 / (share**2 + (1 - share) ** 2)  # 1.5694
    assert freedom == pytest.approx(1.5694, abs=1e-4)
    assert found.value == 3.5
    half = (found.high - found.low) / 2
    assert found.value - found.low == pytest.approx(found.high - found.value)
    assert 12.706 * error > half > (12.706 + 4.303) / 2 * error, "between one and two degrees of freedom"


def test_seeds_alone_are_a_plain_t_interval():
    """Prompts do not differ, so each seed is one observation: -1, 0, 4; t of two degrees of freedom is 4.3027."""
    table = np.tile([-1.0, 0.0, 4.0], (500, 1))
    found = mean_difference(table)
    half = 4.302653 * math.sqrt(7) / math.sqrt(3)
    assert (found.value, found.high - found.value) == (1.0, pytest.approx(half))
    factor = math.sqrt(math.pi) / 2  # of the mean standard deviation of three numbers, c₄ = 0.8862
    spread = math.sqrt(1 + 4.302653**2 * (1 - factor**2))
    assert found.smallest == pytest.approx(half + 0.841621 * spread / factor * math.sqrt(7 / 3))


def test_prompts_alone_are_a_plain_t_interval():
    """Seeds do not differ, so each prompt is one observation, however many seeds repeat it."""
    table = np.repeat(np.array([[1.0], [2.0], [3.0], [6.0]]), 5, axis=1)
    found = mean_difference(table)
    half = 3.182446 * math.sqrt(14 / 3 / 4)
    assert (found.value, found.high - found.value) == (3.0, pytest.approx(half))


def test_equal_arms_differ_by_nothing():
    found = mean_difference(np.zeros((4, 3)))
    assert (found.value, found.low, found.high, found.smallest) == (0, 0, 0, 0)


@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_one_seed_or_one_prompt_has_no_interval(shape):
    """One training says nothing of the next."""
    with pytest.raises(ValueError, match="at least two prompts and two seeds"):
        mean_difference(np.zeros(shape))


@pytest.mark.parametrize("effect", [0.0, 0.05])
@pytest.mark.parametrize(("between", "rest"), NOISE)
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth(seeds, between, rest, effect):
    """95 % of them, within two points, over 2,000 proofs: with and without an effect, whatever the seeds do."""
    found = mean_difference(proofs(seeds, between, rest, effect))
    covered = ((found.low <= effect) & (effect <= found.high)).mean()
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_a_bootstrap_over_seeds_would_not(seeds):
    """The percentiles of means over seeds drawn with replacement cover the truth in less than 90 % of the proofs."""
    random = np.random.default_rng(8)
    by_seed = proofs(seeds, 0.05, 0.02)[:500].mean(1)
    drawn = random.integers(0, seeds, (500, 400, seeds))
    means = np.take_along_axis(by_seed[:, None, :], drawn, 2).mean(2)
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    assert ((low <= 0) & (high >= 0)).mean() < 0.9


@pytest.mark.parametrize(("between", "rest"), NOISE)
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_smallest_effect_is_seen_four_times_in_five(seeds, between, rest):
    """An effect as large as the proofs say on average is found by about 80 % of them."""
    smallest = mean_difference(proofs(seeds, between, rest)).smallest.mean()
    found = mean_difference(proofs(seeds, between, rest, smallest))
    assert 0.75 <= (found.low > 0).mean() <= 0.85


# --- verdicts of a judge ------------------------------------------------------------------------


def verdicts(seeds, between, effect, prompts=50):
    """Tables of 1, 0 and -1, where an answer wins that is better by a margin; and their true mean."""
    random = np.random.default_rng(9)
    better = (
        effect
        + 0.7 * random.standard_normal((PROOFS, prompts, 1))
        + between * random.standard_normal((PROOFS, 1, seeds))
        + 0.7 * random.standard_normal((PROOFS, prompts, seeds))
    )
    spread = math.sqrt(2 * 0.7**2 + between**2)
    normal = NormalDist(effect, spread)
    return np.where(better > 0.5, 1.0, np.where(better < -0.5, -1.0, 0.0)), 1 - normal.cdf(0.5) - normal.cdf(-0.5)


@pytest.mark.parametrize("effect", [0.0, 0.5])
@pytest.mark.parametrize("between", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_of_verdicts_cover_the_truth(seeds, between, effect):
    """Although they have three values: without an effect, and with one of about a third."""
    tables, truth = verdicts(seeds, between, effect)
    found = mean_difference(tables)
    assert truth == pytest.approx(0.34 if effect else 0, abs=0.015)
    assert 0.93 <= ((found.low <= truth) & (truth <= found.high)).mean() <= 0.97


def test_intervals_of_one_sided_verdicts_are_a_little_narrow():
    """With 82 points more wins than losses, twenty prompts and five seeds they cover 91 %, as the page says."""
    tables, truth = verdicts(5, 0.0, 1.5, prompts=20)
    found = mean_difference(tables)
    assert truth == pytest.approx(0.82, abs=0.01)
    assert 0.895 <= ((found.low <= truth) & (truth <= found.high)).mean() <= 0.925
