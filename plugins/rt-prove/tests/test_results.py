"""The proof from the numbers of all units, worked by hand, and its file."""

from __future__ import annotations

import pytest
from attrs import evolve

from rt_framework import Pair, RtError
from rt_framework.kit.proofs import PROOF, read_proof, verdict
from rt_prove.arms import Arm, Arms
from rt_prove.held_out import HeldOutSet
from rt_prove.results import proof_of
from rt_prove.settings import Learner, Training
from rt_prove.training import Tokens
from rt_prove.units import Measured, Plan

NAMES = ("kept", "all-rewrites", "original")
LOSSES = {
    # Arm and rate: a row a seed, a column a prompt. The last prompt has no loss in one of them.
    ("kept", 0.1): ([1.0, 2.0, None], [1.2, 2.2, 9.0]),
    ("kept", 0.2): ([1.4, 2.4, 9.0], [1.4, 2.6, 9.0]),
    ("all-rewrites", 0.1): ([1.0, 2.0, 9.0], [1.2, 2.2, 9.0]),
    ("all-rewrites", 0.2): ([1.1, 2.1, 9.0], [1.3, 2.3, 9.0]),
    ("original", 0.1): ([1.5, 2.5, 9.0], [1.5, 2.5, 9.0]),
    ("original", 0.2): ([1.3, 2.1, 9.0], [1.3, 2.3, 9.0]),
}


@pytest.fixture
def proof(host, model, tmp_path):
    """A proof of these numbers, with so many seeds."""

    def make(seeds=2, losses=LOSSES):
        arms = tuple(Arm(name, (Pair(f"Why {name}?", "", "So."),), 0) for name in NAMES)
        plan = Plan(
            host,
            tmp_path,
            Learner(model, "float32"),
            Training(),
            arms,
            (HeldOutSet("plain", tuple(Pair(f"{n}?", "", "So.") for n in range(3)), 4),),
            (),
            tuple(range(seeds)),
            (0.1, 0.2),
            "fingerprint",
        )
        done = []
        for unit in plan.units():
            numbers = [2.0, 3.0, 8.0] if unit.arm is None else losses[unit.arm.name, unit.rate][unit.seed]
            done.append((unit, Measured(unit.key, "cpu", {"plain": numbers})))
        tokens = {name: Tokens(10, 5, 2, 0, 1) for name in NAMES}
        return proof_of("the run", plan, Arms(arms, {"random": "why"}), tokens, done)

    return make


def compared(proof, arm, control, rates):
    (one,) = [
        one
        for one in proof.comparisons
        if (one.arm, one.control, one.learning_rates, one.best) == (arm, control, rates, rates[0] != rates[1])
    ]
    return one


def test_means_are_over_the_prompts_that_all_have(proof):
    """A prompt without a number anywhere is left out everywhere, and counted."""
    found = proof()
    (outcome,) = found.outcomes
    assert (outcome.prompts, outcome.removed, outcome.unscored) == (2, 4, 1)
    assert found.base == {"plain": 2.5}
    cells = {(cell.arm, cell.learning_rate, cell.seed): cell.means["plain"] for cell in found.cells}
    assert (cells["kept", 0.1, 0], cells["kept", 0.1, 1], cells["kept", 0.2, 1]) == pytest.approx((1.5, 1.7, 2.0))
    assert len(cells) == 12


def test_the_best_rate_has_the_lowest_mean_loss(proof):
    assert proof().best == {"kept": 0.1, "all-rewrites": 0.1, "original": 0.2}


def test_arms_are_compared_at_their_best_rates_and_at_each(proof):
    """Kept with all others, all rewrites with the controls, each pair once: 3 pairs, 1 + 2 times."""
    found = proof()
    pairs = {(one.arm, one.control) for one in found.comparisons}
    assert pairs == {("kept", "all-rewrites"), ("kept", "original"), ("all-rewrites", "original")}
    assert len(found.comparisons) == 9
    # Best of each: kept at 0.1 minus original at 0.2: -0.3 -0.1 / -0.1 -0.1, mean -0.15.
    best = compared(found, "kept", "original", (0.1, 0.2))
    assert best.value == pytest.approx(-0.15)
    assert best.low < best.value < best.high and best.smallest > 0
    # At one rate: -0.5 -0.5 / -0.3 -0.3: prompts do not differ, seeds do: t of one degree of freedom, 12.7062.
    one = compared(found, "kept", "original", (0.1, 0.1))
    assert (one.value, one.high - one.value) == pytest.approx((-0.4, 12.7062 * 0.1), rel=1e-4)
    assert verdict(found, one) == f"no difference was seen; this could have seen one of {one.smallest:.2g}"


def test_a_difference_that_is_seen_has_a_direction(proof):
    """Kept has the lower loss for every seed and every prompt, so the difference is seen."""
    low = {place: ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) for place in LOSSES}
    low["original", 0.1] = low["original", 0.2] = ([1.5, 2.5, 3.5], [1.5, 2.5, 3.51])
    made = proof(losses=low)
    found = compared(made, "kept", "original", (0.1, 0.1))
    assert made.outcomes[0].higher_is_better is False
    assert found.is_seen and verdict(made, found) == "better than original"
    turned = evolve(found, value=-found.value, low=-found.high, high=-found.low)
    assert verdict(made, turned) == "worse than original"


def test_one_seed_gives_no_interval(proof):
    found = proof(seeds=1)
    one = compared(found, "kept", "original", (0.1, 0.1))
    assert (one.value, one.low, one.high, one.smallest) == (pytest.approx(-0.5), None, None, None)
    assert "no interval" in verdict(found, one)


def test_a_set_without_any_loss_is_an_error(proof):
    nothing = {place: ([None] * 3, [None] * 3) for place in LOSSES}
    with pytest.raises(RtError, match="held-out set 'plain': no prompt has a loss in all trainings"):
        proof(losses=nothing)


def test_what_is_written_is_read(proof, tmp_path):
    """The reader of core takes what the command writes."""
    made = proof()
    (tmp_path / PROOF).write_text(made.text())
    assert read_proof(tmp_path, "the run") == made
    assert made.arms[0].note == "2 samples were cut off"
