"""Each score against numbers worked out by hand, against a plain computation, and under any order of the data."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_parts import by_turn

from rt_framework import Loss, Pair, SpanLoss, Turn, Unscorable
from rt_framework.spans import total
from rt_metrics.deita import COMPLEXITY, QUALITY, Complexity, Evol, Grading, Quality
from rt_metrics.fitting import Grape, RankSurprisalRatio
from rt_metrics.residual import LengthResidual
from rt_metrics.selective import SelectiveIFD, s_ifd_50, s_ifd_75
from rt_metrics.spread import STEPS, Spread, step

NATS = st.floats(0, 30, width=32)
TOKENS = st.lists(st.tuples(NATS, NATS), min_size=1, max_size=12)
DATA = st.lists(TOKENS, min_size=1, max_size=12)


def both(tokens):
    """The losses of one pair, from the loss of each token with and without its instruction."""
    return {"y|x": by_turn([one for one, _ in tokens]), "y": by_turn([one for _, one in tokens])}


# --- GRAPE and RSR ----------------------------------------------------------------------------


def test_grape_is_the_mean_log_probability():
    """Minus 6 nats over 4 tokens, of two turns."""
    assert Grape().reduce({"y|x": by_turn([1.0, 2.0], [0.5, 2.5])}) == -1.5


def test_rsr_clips_ranks_at_a_hundred():
    """(1 + 3 + 100 + 100) ranks over 0.5 + 1.5 + 6 + 9 nats; the turns end to end."""
    loss = by_turn([(0.5, 1), (1.5, 3)], [(6.0, 100), (9.0, 48000)])
    assert RankSurprisalRatio().reduce({"y|x": loss}) == 204 / 17


@given(st.lists(st.tuples(st.floats(0.01, 30), st.integers(1, 50000)), min_size=1))
def test_rsr_is_a_mean_of_token_ratios_weighted_by_surprisal(tokens):
    """As the paper has it before it simplifies."""
    weights = [nll for nll, _ in tokens]
    ratios = [min(rank, 100) / nll for nll, rank in tokens]
    assert RankSurprisalRatio().reduce({"y|x": by_turn(tokens)}) == pytest.approx(np.average(ratios, weights=weights))


# --- S-IFD ------------------------------------------------------------------------------------


def test_s_ifd_reads_the_informative_tokens_of_the_data_set():
    """|Δ| are 4, 3, 2, 1 and 0.5: the half above the median is −4 and 3 of the first; the last has none and gets 1."""
    data = [both([(1, 5), (4, 1), (3, 2)]), both([(1, 3)]), both([(1, 1.5)])]
    fitted = s_ifd_50().fit(data)
    values = [fitted.reduce(one) for one in data]
    assert values == [pytest.approx(math.exp((-4 + 3) / 2)), 1.0, 1.0]
    wider = s_ifd_75().fit(data)
    assert [wider.reduce(one) for one in data] == [pytest.approx(math.exp(-1 / 2)), pytest.approx(math.exp(-2)), 1.0]


def test_s_ifd_of_all_tokens_is_ifd():
    """With the threshold below every token."""
    one = both([(1, 5), (4, 1), (3, 2.5)])
    fitted = SelectiveIFD(1).fit([both([(0, 0)]), one])
    assert fitted.reduce(one) == pytest.approx(math.exp(one["y|x"].mean - one["y"].mean))


def test_s_ifd_matches_tokens_from_the_end_of_each_turn():
    """Without anything before it a response has no prediction for its first token."""
    one = {"y|x": by_turn([9, 1, 2], [9, 3]), "y": by_turn([2, 4], [6])}
    fitted = SelectiveIFD(1).fit([one])
    assert s_ifd_50().fit([]).reduce(one) == pytest.approx(math.exp((-1 - 2 - 3) / 3))
    assert fitted.reduce(one) == pytest.approx(math.exp((-2 - 3) / 2))


@given(DATA, st.randoms(use_true_random=False))
def test_s_ifd_is_fitted_alike_in_any_order(data, chance):
    """The same value for every pair."""
    mixed = chance.sample(data, len(data))
    one, other = (s_ifd_50().fit(map(both, order)) for order in (data, mixed))
    assert [one.reduce(both(tokens)) for tokens in data] == [other.reduce(both(tokens)) for tokens in data]


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_s_ifd_is_as_the_published_percentile_has_it(share):
    """Numpy's percentile, and what is strictly greater, on 20,000 tokens."""
    source = random.Random(1)
    data = [
        [(source.expovariate(0.4), source.expovariate(0.3)) for _ in range(source.randrange(1, 80))] for _ in range(500)
    ]
    every = np.abs([one - other for tokens in data for one, other in tokens])
    threshold = np.percentile(every, 100 * (1 - share))
    fitted = SelectiveIFD(share).fit(map(both, data))
    wrong = 0
    for tokens in data:
        deltas = np.array([one - other for one, other in tokens])
        mask = np.abs(deltas) > threshold
        value = fitted.reduce(both(tokens))
        near = np.abs(np.abs(deltas) / threshold - 1) < 2 / STEPS
        assert near.any() or value == pytest.approx(np.exp((deltas * mask).sum() / max(mask.sum(), 1)), rel=1e-9)
        wrong += near.any()
    assert wrong < 25


@given(st.floats(0, 1e30), st.floats(0, 1e30))
def test_steps_keep_the_order_and_are_narrow(one, other):
    """Within the scale two numbers of one step differ by one part in 4096 at most."""
    assert one <= other or step(one) >= step(other)
    if step(one) == step(other) and min(one, other) > 1e-9 and max(one, other) < 1e6:
        assert abs(one - other) <= max(one, other) / STEPS


@given(st.lists(st.floats(1e-6, 1e3), min_size=1), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
def test_a_quantile_is_that_of_the_sorted_numbers(numbers, share):
    """The step of the order statistic."""
    spread = Spread()
    for number in numbers:
        spread.add(number)
    assert spread.quantile(share) == step(sorted(numbers)[math.floor(share * (len(numbers) - 1))])


# --- DEITA ------------------------------------------------------------------------------------


def graded(grading: Grading, *turns) -> dict[str, Loss]:
    """Losses of the six labels, from their probabilities in each turn."""
    chances = zip(*turns, strict=True)
    return {
        f"{grading.name}={label}": total([SpanLoss(-math.log(one), 1) for one in chance])
        for label, chance in enumerate(chances, 1)
    }


FIRST = (0.1, 0.05, 0.05, 0.0125, 0.025, 0.0125)
SECOND = (0.01, 0.01, 0.01, 0.01, 0.01, 0.15)


def test_a_grade_is_expected_over_the_labels_alone():
    """Probabilities .1 .05 .05 .0125 .025 .0125 are .25 in all: 2.4; and 5.25 in the second turn."""
    first, second = 2.4, 5.25
    assert Complexity().reduce(graded(COMPLEXITY, FIRST)) == pytest.approx(first)
    assert Quality().reduce(graded(QUALITY, FIRST, SECOND)) == pytest.approx(first + second)
    losses = graded(COMPLEXITY, FIRST, SECOND) | graded(QUALITY, SECOND, FIRST)
    assert Evol().reduce(losses) == pytest.approx(2 * first * second)


@given(st.lists(st.floats(0, 5000), min_size=6, max_size=6), st.floats(0, 1000))
def test_a_grade_lies_on_the_scale(nll, more):
    """However unlikely all labels are, and what they share takes no part."""
    losses = [
        {f"{COMPLEXITY.name}={label}": total([SpanLoss(one + add, 1)]) for label, one in enumerate(nll, 1)}
        for add in (0, more)
    ]
    one, other = (Complexity().reduce(loss) for loss in losses)
    assert 1 <= one <= 6 + 1e-9
    assert other == pytest.approx(one, abs=1e-6)


def test_each_turn_is_asked_about_alone():
    """Two trained turns, six labels; the second prompt does not show the first turn."""
    history = (Turn("user", "Name a river."), Turn("assistant", "Rhine.", trained=True))
    pair = Pair("And its source?", "", "The Alps.", history=history)
    spans = Quality().spans(pair, None)
    assert len(spans) == 6
    for label, (first, second) in enumerate(spans.values(), 1):
        assert (first.target, second.target, first.join) == (str(label), str(label), "ids")
        assert "Name a river." in first.context and "Rhine." in first.context
        assert "And its source?" in second.context and "The Alps." in second.context
        assert "Rhine." not in second.context


@pytest.mark.parametrize("response", [" ", "<think>Nothing, then.</think>"])
def test_what_is_blank_has_no_grade(response):
    """An instruction without a response has a complexity, and no quality; reasoning alone is no response."""
    pair = Pair("Say nothing.", "", response)
    assert Complexity().spans(pair, None)
    with pytest.raises(Unscorable, match="the response is blank"):
        Evol().spans(pair, None)
    with pytest.raises(Unscorable, match="the instruction is blank"):
        Complexity().spans(Pair("", "", "Nothing."), None)


def test_texts_with_braces_are_shown_as_they_are():
    """A prompt is filled in once."""
    (span,) = Quality().spans(Pair("{response}", "{input}", "{instruction} {0}"), None)["deita-quality=1"]
    assert "{response}\n{input}\n" in span.context and "{instruction} {0}" in span.context


def test_a_scorer_of_ones_own_is_five_lines():
    """The README's, with losses of its own name."""
    page = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    space = {"__name__": "readme"}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], space)
    spans = space["Mine"]().spans(Pair("Name a river.", "", "The Rhine."), None)
    assert list(spans) == [f"my-complexity={label}" for label in range(1, 7)]
    assert spans["my-complexity=1"][0].context == "My scorer's prompt: Name a river. grade: "


# --- IFD without length -----------------------------------------------------------------------


def of_length(tokens, ifd):
    """The losses of a response of so many tokens."""
    return {"y|x": Loss(tokens * (2 + math.log(ifd)), tokens), "y": Loss(2.0 * tokens, tokens)}


def test_the_line_of_the_length_is_taken_off():
    """Of pairs that lie on a line nothing is left, and a pair above 1 does not bend it."""
    lengths = [1, 8, 60]
    data = [of_length(tokens, 0.9 - 0.1 * math.log(tokens)) for tokens in lengths]
    fitted = LengthResidual().fit([*data, of_length(5, 3.0)])
    assert (fitted.level, fitted.slope) == (pytest.approx(0.9), pytest.approx(-0.1))
    assert [fitted.reduce(one) for one in data] == pytest.approx([0, 0, 0], abs=1e-9)
    assert fitted.reduce(of_length(8, 0.9)) == pytest.approx(0.1 * math.log(8))


PAIRS = st.lists(st.tuples(st.integers(1, 2000), st.floats(0.05, 2)), min_size=2, max_size=20)


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_line_is_that_of_least_squares_in_any_order(pairs, chance):
    """numpy's, of the pairs below 1; the same to the last bit when they are mixed."""
    fitted, mixed = (
        LengthResidual().fit([of_length(*one) for one in order]) for order in (pairs, chance.sample(pairs, len(pairs)))
    )
    assert (fitted.level, fitted.slope) == (mixed.level, mixed.slope)
    low = [(math.log(tokens), ifd) for tokens, ifd in pairs if ifd < 1 - 1e-9]
    if len({x for x, _ in low}) > 1 and not any(abs(ifd - 1) < 1e-9 for _, ifd in pairs):
        slope, level = np.polyfit(*zip(*low, strict=True), 1)
        assert (fitted.slope, fitted.level) == (pytest.approx(slope, abs=1e-6), pytest.approx(level, abs=1e-5))


def test_one_length_has_no_slope():
    """Then the mean is taken off; without any pair nothing is."""
    fitted = LengthResidual().fit([of_length(7, 0.4), of_length(7, 0.6)])
    assert (fitted.level, fitted.slope) == (pytest.approx(0.5), 0)
    assert LengthResidual().fit([]).reduce(of_length(7, 0.4)) == pytest.approx(0.4)
