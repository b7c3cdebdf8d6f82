"""The plan: every span is computed, once, in batches that fit and do not depend on the order of arrival."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from rt_framework.kit.packing import PrefixRow
from rt_framework.scoring.planning import plan
from rt_framework.spans import EncodedSpan


@st.composite
def spans(draw):
    ids = tuple(draw(st.lists(st.integers(0, 3), min_size=2, max_size=8)))
    return EncodedSpan(ids, draw(st.integers(1, len(ids) - 1)))


many = st.lists(spans(), max_size=30)
budgets = st.integers(1, 40)


packings = st.booleans()


def planned(asked, budget, packed):
    """The plan under one budget."""
    return list(plan(asked, lambda: budget, packed))


@given(many, budgets, packings)
def test_every_span_is_answered_by_its_own_sequence(asked, budget, packed):
    """Positions are covered exactly once, each by an equal sequence."""
    answers = {}
    for batch in planned(asked, budget, packed):
        for span, positions in zip(batch.spans, batch.positions, strict=True):
            for position in positions:
                assert position not in answers
                answers[position] = span
    assert answers == dict(enumerate(asked))


@given(many, budgets, packings)
def test_equal_spans_are_computed_once(asked, budget, packed):
    """Over all batches no sequence occurs twice."""
    spans = [span for batch in planned(asked, budget, packed) for span in batch.spans]
    assert len(spans) == len(set(asked))


@given(many, budgets, packings)
def test_a_batch_stays_within_the_budget(asked, budget, packed):
    """Only a single sequence may be larger."""
    for batch in planned(asked, budget, packed):
        longest = max(len(span.ids) for span in batch.spans)
        size = len(PrefixRow.of(batch.spans).ids) if packed else longest * len(batch.spans)
        assert batch.size == size
        assert len(batch.spans) == 1 or size <= budget


@given(many, budgets)
def test_padded_batches_come_longest_first(asked, budget):
    """So that running out of memory shows at once."""
    longest = [max(len(span.ids) for span in batch.spans) for batch in planned(asked, budget, False)]
    assert longest == sorted(longest, reverse=True)


@given(many, budgets, packings, st.randoms(use_true_random=False))
def test_the_order_of_arrival_shapes_no_batch(asked, budget, packed, shuffler: random.Random):
    """The same spans in another order give the same batches."""
    mixed = list(asked)
    shuffler.shuffle(mixed)
    one, other = planned(mixed, budget, packed), planned(asked, budget, packed)
    assert [batch.spans for batch in one] == [batch.spans for batch in other]


@given(many, packings)
def test_batches_are_filled(asked, packed):
    """Sequences that fit into one batch are one batch."""
    assert len(planned(asked, 10**6, packed)) == bool(asked)


@given(many)
def test_the_budget_is_asked_anew(asked):
    """A device that turns out to have less room gets smaller batches from then on."""
    budgets = iter([24, *[8] * 1000])
    sizes = [(batch.size, len(batch.spans)) for batch in plan(asked, lambda: next(budgets), True)]
    assert all(size <= 8 or count == 1 for size, count in sizes[1:])


def test_halves_are_the_whole():
    """A batch that is too large for memory is split without a loss; what was shared is then fed twice."""
    asked = [EncodedSpan((0, number, 1), 1) for number in range(5)]
    for packed, tokens in ((False, 10), (True, 6)):
        (batch,) = planned(asked, 100, packed)
        first, second = batch.halves()
        assert first.spans + second.spans == batch.spans
        assert first.positions + second.positions == batch.positions
        assert {len(first.spans), len(second.spans)} == {2, 3}
        assert batch.tokens == tokens
        assert first.tokens + second.tokens == tokens + packed


# --- rows -------------------------------------------------------------------------------------


@given(st.lists(spans(), min_size=1, max_size=30))
def test_each_path_spells_its_sequence(asked):
    """Following a path gives the tokens that are fed, at the positions that they have in the sequence."""
    row = PrefixRow.of(asked)
    for at, path in zip(row.order, row.paths, strict=True):
        assert tuple(row.ids[path.nodes]) == asked[at].ids[:-1]
        assert list(row.positions[path.nodes]) == list(range(len(asked[at].ids) - 1))


@given(st.lists(spans(), min_size=1, max_size=30))
def test_what_is_shared_stands_once(asked):
    """The row has one node for each distinct start of a fed sequence, and its own nodes follow each other."""
    row = PrefixRow.of(asked)
    starts = {span.ids[:end] for span in asked for end in range(1, len(span.ids))}
    assert len(row.ids) == len(starts)
    own = [list(path.nodes[len(path.nodes) - path.own :]) for path in row.paths]
    assert [node for one in own for node in one] == list(range(len(row.ids)))


@given(st.lists(spans(), min_size=1, max_size=30))
def test_targets_are_predicted_from_the_token_before(asked):
    """In the order of the batch, whatever the order of the row."""
    row = PrefixRow.of(asked)
    nodes, targets, lengths = row.predicting(asked)
    assert lengths == [len(span.ids) - span.start for span in asked]
    assert list(targets) == [token for span in asked for token in span.ids[span.start :]]
    assert [row.ids[node] for node in nodes] == [token for span in asked for token in span.ids[span.start - 1 : -1]]
