"""The statistics of the evidence study, against numbers worked by hand and against simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.evidence.pairs import drawn
from benchmarks.evidence.statistics import auc, correlation, preference, share
from benchmarks.evidence.training import Material, folded, recorded
from rt_framework import Pair


def test_a_share_counts_ties_as_half_and_has_wilsons_interval():
    """6 of 10: Wilson's 95 % interval is 0.3127 to 0.8318."""
    found = share(np.array([1.0] * 5 + [0.0] * 2 + [-1.0] * 3))
    assert found.value == 0.6
    assert (found.low, found.high) == (pytest.approx(0.3127, abs=1e-4), pytest.approx(0.8318, abs=1e-4))


def test_the_auc_is_the_share_of_signed_ranks():
    """Sizes 1, 2, 3 with the 2 negative: ranks 1 and 3 of 6; equal sizes share their ranks, and zeros count half."""
    assert auc(np.array([1.0, -2.0, 3.0]), draws=10).value == pytest.approx(4 / 6)
    assert auc(np.array([1.0, -1.0]), draws=10).value == 0.5
    assert auc(np.array([0.0, 5.0]), draws=10).value == pytest.approx((0.5 * 1 + 2) / 3)
    differences = np.random.default_rng(1).normal(0.3, 1, 60)
    pairs = [(one + other > 0) for at, one in enumerate(differences) for other in differences[: at + 1]]
    assert auc(differences, draws=10).value == pytest.approx(np.mean(pairs))


def test_the_auc_of_a_normal_difference_is_in_its_interval():
    """P(d + d' > 0) = Φ(√2 μ/σ); over 100 simulations the interval covers it about as often as it says."""
    true = 0.5 * (1 + math.erf(0.3))  # mean 0.3, deviation 1: √2·0.3 standard deviations
    generator = np.random.default_rng(2)
    found = [auc(generator.normal(0.3, 1, 150), draws=200, seed=seed) for seed in range(100)]
    assert np.mean([one.low <= true <= one.high for one in found]) >= 0.88


def test_the_model_finds_the_coefficients_that_made_the_data():
    """Sides drawn by P = σ(0.8 a − 0.5 b): the estimates are near, and their intervals hold the truth mostly."""
    generator = np.random.default_rng(3)
    covered = []
    for _ in range(200):
        columns = generator.normal(size=(400, 2)) * [1.0, 3.0]
        chance = 1 / (1 + np.exp(-(columns @ [0.8, -0.5 / 3])))
        signs = np.where(generator.random(400) < chance, 1.0, -1.0)
        estimates = preference(columns * signs[:, None])
        roots = np.sqrt(np.mean(columns**2, axis=0))
        truth = roots * [0.8, -0.5 / 3]
        covered += [one.low <= value <= one.high for one, value in zip(estimates, truth, strict=True)]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_what_separates_has_no_coefficient():
    """The likelihood grows without end."""
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        preference(np.ones((20, 1)))


def test_a_constant_has_no_correlation():
    """It is said to have none, without a warning."""
    assert math.isnan(correlation(np.ones(5), np.arange(5.0)))
    assert correlation(np.arange(5.0), -np.arange(5.0)) == pytest.approx(-1)


RAW = Pair("Name a bird.\n\nin Europe", "", "Robin")


@pytest.mark.parametrize(
    ("revised", "stronger", "answers"),
    [
        (Pair("Name two birds.", "", "Robin, wren"), None, {"instruction": "Robin, wren"}),
        (Pair(RAW.instruction, "", "The robin."), None, {"response": "The robin."}),
        (Pair(RAW.instruction, "", "The robin."), "A robin is one.", {"response": "A robin is one."}),
        (
            Pair("Name two birds.", "", "Robin, wren"),
            "A robin.",
            {"instruction": "Robin, wren", "response": "A robin."},
        ),
        (None, "A robin.", {"response": "A robin."}),
    ],
)
def test_the_recorded_teacher_answers_the_question_that_was_asked(revised, stronger, answers):
    """An answer to an expert's new instruction is never given for the old one."""
    answer = stronger and Pair(RAW.instruction, "", stronger)
    found = list(recorded(Material(7, RAW, revised, answer)))
    assert {reflection: rewrite.response for reflection, _, rewrite in found} == answers
    assert all(asked == RAW for _, asked, _ in found)


def test_an_input_stands_below_its_instruction():
    """And a row without one keeps its instruction."""
    row = {"instruction": "Name a bird. ", "input": "in Europe", "output": "Robin"}
    assert folded(row) == RAW
    assert folded({**row, "input": " "}, "Wren") == Pair("Name a bird.", "", "Wren")


def test_a_draw_is_the_same_again_and_keeps_the_order():
    """Another key draws others."""
    first = drawn(range(1000), 50, "a")
    assert first == sorted(first) == drawn(range(1000), 50, "a")
    assert len(set(first) & set(drawn(range(1000), 50, "b"))) < 15
