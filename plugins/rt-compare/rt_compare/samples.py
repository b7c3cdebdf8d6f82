"""Comparison of two data sets without training: scores, lengths, duplicates, refusals, languages."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import evolve, field, frozen

from rt_compare.languages import language
from rt_compare.neighbours import Neighbours, Sketcher
from rt_compare.sides import ComparedSample, Side, prompt_key
from rt_framework import Pair
from rt_framework.errors import DataError
from rt_framework.kit.estimates import Estimate, Moments
from rt_framework.kit.refusals import refuses
from rt_framework.kit.spread import Spread, auc, repeats

# --- one side by itself -----------------------------------------------------------------------


class _Gathered:
    """Data kept of the samples of a side: numbers and hashes, about 200 bytes a sample, no text."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.prompts = array("Q")
        self.pairs = array("Q")
        self.instructions = array("I")
        self.responses = array("I")
        self.refusals = 0
        self.languages: Counter[str] = Counter()
        self.scores: dict[str, array[float]] = {}

    def add(self, row: ComparedSample) -> None:
        """Add one sample."""
        for name, value in row.scores.items():
            column = self.scores.setdefault(name, array("d", [math.nan] * len(self.ids)))
            column.append(math.nan if value is None else value)
        self.ids.append(row.id)
        for column in self.scores.values():
            if len(column) < len(self.ids):
                column.append(math.nan)
        pair = row.pair
        self.prompts.append(int(prompt_key(pair)[:16], 16))
        self.pairs.append(int(pair.hash[:16], 16))
        self.instructions.append(len(pair.question))
        self.responses.append(len(pair.response))
        self.refusals += refuses(pair.response)
        self.languages[language(pair.response)] += 1


@frozen
class SideFacts:
    """Statistics of one side by itself. Lengths are in characters."""

    path: str
    is_run: bool
    samples: int
    instruction: Spread
    """Length of the instruction with its input."""
    response: Spread
    exact: int
    """Number of samples that repeat an earlier one completely."""
    same_prompt: int
    """Number of samples that ask what an earlier one asks."""
    near: int
    """Number of samples that are a near-duplicate of an earlier one, exact ones included."""
    refusals: int
    """Number of responses that begin as a refusal."""
    languages: dict[str, int]
    """Number of responses by language, most common first."""


@frozen
class MetricFacts:
    """One metric on both sides."""

    name: str
    a: Spread | None
    b: Spread | None
    shift: Estimate | None = None
    """Mean of B − A over the samples that are in both and have two numbers, with Student's t interval."""
    paired: int = 0
    """Number of samples in that mean."""


@frozen
class Comparison:
    """Both sides, and what they have in common."""

    a: SideFacts
    b: SideFacts
    by_id: int
    """Number of samples of both sides that come from the same original sample."""
    by_prompt: int
    """Number of further samples that ask the same: same instruction, input, system prompt and earlier turns."""
    equal: int
    """Number of all these matched samples that are the same in every character."""
    longer: int
    """Number of matched samples whose response is longer in B; *shorter* counts those where it is shorter."""
    shorter: int
    near: int
    """Number of samples of B that are near-duplicates of one of A, exact ones included."""
    length_auc: float
    """Probability that a response of B drawn at random is longer than one of A, ties counted half."""
    metrics: tuple[MetricFacts, ...]
    same_scoring: bool | None
    """True if both sides were scored by the same student and rules; ``None`` where that is not known."""
    cannot_say: tuple[str, ...] = field(factory=tuple)


def compare(a: Side, b: Side) -> Comparison:
    """Read both sides once, and compare them.

    Raises:
        DataError: a side cannot be read.
    """
    sketch = Sketcher()
    near_a, near_b = Neighbours(), Neighbours()
    repeated = [0, 0, 0]
    left, right = _Gathered(), _Gathered()
    for row in a.rows():
        left.add(row)
        repeated[0] += near_a.add(sketch(_text(row.pair)))
    for row in b.rows():
        right.add(row)
        made = sketch(_text(row.pair))
        repeated[1] += near_b.add(made)
        repeated[2] += near_a.has(made)
    both, by_id = _matched(left, right)
    facts = (a.scored_by, b.scored_by)
    found = Comparison(
        a=_facts_of(a, left, repeated[0]),
        b=_facts_of(b, right, repeated[1]),
        by_id=by_id,
        by_prompt=len(both) - by_id,
        equal=sum(left.pairs[i] == right.pairs[j] for i, j in both),
        longer=sum(right.responses[j] > left.responses[i] for i, j in both),
        shorter=sum(right.responses[j] < left.responses[i] for i, j in both),
        near=repeated[2],
        length_auc=auc(left.responses, right.responses) or 0.0,
        metrics=tuple(_metric(name, left, right, both) for name in sorted({*left.scores, *right.scores})),
        same_scoring=None if None in facts else facts[0] == facts[1],
    )
    return evolve(found, cannot_say=tuple(_limits(found)))


def _text(pair: Pair) -> str:
    return f"{pair.instruction}\n{pair.input}\n{pair.response}"


def _facts_of(side: Side, found: _Gathered, near: int) -> SideFacts:
    instruction, response = Spread.of(found.instructions), Spread.of(found.responses)
    if instruction is None or response is None:
        raise DataError(f"{side.path}: no samples")
    return SideFacts(
        path=str(side.path),
        is_run=side.is_run,
        samples=len(found.ids),
        instruction=instruction,
        response=response,
        exact=repeats(found.pairs),
        same_prompt=repeats(found.prompts),
        near=near,
        refusals=found.refusals,
        languages=dict(found.languages.most_common()),
    )


def _matched(left: _Gathered, right: _Gathered) -> tuple[list[tuple[int, int]], int]:
    """Return the places of samples that are in both, by id, then by question in order, and the number found by id."""
    places = {id_: place for place, id_ in enumerate(left.ids)}
    both = [(places[id_], place) for place, id_ in enumerate(right.ids) if id_ in places]
    taken = ({i for i, _ in both}, {j for _, j in both})
    asking: dict[int, list[int]] = {}
    for place in reversed(range(len(left.ids))):
        if place not in taken[0]:
            asking.setdefault(left.prompts[place], []).append(place)
    free = (place for place in range(len(right.ids)) if place not in taken[1])
    more = [(asking[right.prompts[j]].pop(), j) for j in free if asking.get(right.prompts[j])]
    return both + more, len(both)


def _metric(name: str, left: _Gathered, right: _Gathered, both: Sequence[tuple[int, int]]) -> MetricFacts:
    a, b = (side.scores.get(name, array("d")) for side in (left, right))
    moved = Moments()
    for i, j in both if a and b else ():
        if not math.isnan(b[j] - a[i]):
            moved.add(b[j] - a[i])
    spread_a, spread_b = (Spread.of(value for value in column if not math.isnan(value)) for column in (a, b))
    return MetricFacts(name, spread_a, spread_b, moved.interval(), moved.count)


# --- what it cannot say -----------------------------------------------------------------------


def _limits(found: Comparison) -> Iterator[str]:
    yield (
        "a shift of scores is no proof of a better model. Only training on A and on B, with the same number of "
        "samples, and judging the two models says that; train on a random and on a length-matched choice of the same "
        "size too ('rt select --by random', '--by length-matched')"
    )
    yield (
        f"length alone: a response of B drawn at random is longer than one of A in {100 * found.length_auc:.1f} % of "
        f"all pairs, equal lengths counted half (AUC {found.length_auc:.3f}; 0.5 is no difference). Scores and judges "
        "move with length"
    )
    beside = any(metric.a and metric.b for metric in found.metrics)
    if beside and found.same_scoring is False:
        yield "the scores of A and B were made by different students or rules: they must not be compared"
    elif beside and found.same_scoring is None:
        yield "it is not known whether the scores of A and B were made by the same student and rules"
    if beside and not any(metric.paired for metric in found.metrics):
        yield "no sample is in both: the difference of the means is one between different samples"
