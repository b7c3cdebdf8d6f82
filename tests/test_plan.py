"""The plan: every span is computed, once, in batches that fit and do not depend on the order of arrival."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from rt_framework.model import EncodedSpan
from rt_framework.plan import plan


@st.composite
def spans(draw):
    ids = tuple(draw(st.lists(st.integers(0, 3), min_size=2, max_size=8)))
    return EncodedSpan(ids, draw(st.integers(1, len(ids) - 1)))


many = st.lists(spans(), max_size=30)
budgets = st.integers(1, 40)


@given(many, budgets)
def test_every_span_is_answered_by_its_own_sequence(asked, budget):
    """Positions are covered exactly once, each by an equal sequence."""
    answers = {}
    for batch in plan(asked, budget):
        for span, positions in zip(batch.spans, batch.asked, strict=True):
            for position in positions:
                assert position not in answers
                answers[position] = span
    assert answers == dict(enumerate(asked))


@given(many, budgets)
def test_equal_spans_are_computed_once(asked, budget):
    """Over all batches no sequence occurs twice."""
    planned = [span for batch in plan(asked, budget) for span in batch.spans]
    assert len(planned) == len(set(asked))


@given(many, budgets)
def test_a_padded_batch_stays_within_the_budget(asked, budget):
    """Only a single sequence may be larger; batches come longest first."""
    sizes = [(len(batch.spans), max(len(span.ids) for span in batch.spans)) for batch in plan(asked, budget)]
    assert all(count == 1 or count * longest <= budget for count, longest in sizes)
    assert [longest for _, longest in sizes] == sorted((longest for _, longest in sizes), reverse=True)


@given(many, budgets, st.randoms(use_true_random=False))
def test_the_order_of_arrival_shapes_no_batch(asked, budget, shuffler: random.Random):
    """The same spans in another order give the same batches."""
    mixed = list(asked)
    shuffler.shuffle(mixed)
    assert [batch.spans for batch in plan(mixed, budget)] == [batch.spans for batch in plan(asked, budget)]


@given(many)
def test_batches_are_filled(asked):
    """Whatever fits in one batch is one batch."""
    assert len(list(plan(asked, 10**6))) == bool(asked)


def test_halves_are_the_whole():
    """A batch that is too large for memory is split without a loss."""
    asked = [EncodedSpan((0, number), 1) for number in range(5)]
    (batch,) = plan(asked, 100)
    first, second = batch.halves()
    assert first.spans + second.spans == batch.spans
    assert first.asked + second.asked == batch.asked
    assert {len(first.spans), len(second.spans)} == {2, 3}
    assert batch.tokens == first.tokens + second.tokens == 5
