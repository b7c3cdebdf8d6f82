"""Comparison of two data sets without training: scores, lengths, duplicates, refusals, languages."""

from __future__ import annotations

import math
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from rt_compare.languages import language
from rt_compare.neighbours import Sketches, near_duplicates
from rt_compare.sides import ComparedSample, Side, prompt_key
from rt_framework import Pair
from rt_framework.errors import DataError, DiskError
from rt_framework.kit.estimates import Estimate, Moments
from rt_framework.kit.refusals import refuses
from rt_framework.kit.spread import Spread, auc

Places = np.ndarray[Any, Any]
"""Places of samples in the order of their side, or their keys."""

# --- one side by itself -----------------------------------------------------------------------


class _Gathered:
    """Data kept of the samples of a side: numbers and hashes, about 50 bytes a sample, no text."""

    def __init__(self) -> None:
        self.ids = array("Q")
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
            if name not in self.scores:
                self.scores[name] = array("d", [math.nan] * len(self.ids))
            self.scores[name].append(math.nan if value is None else value)
        hashed = blake2b(row.id.encode("utf-8", "replace"), digest_size=8)
        self.ids.append(int.from_bytes(hashed.digest()))
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
        DiskError: there is no room for temporary files.
    """
    left, right = _Gathered(), _Gathered()
    try:
        with Sketches() as sketches:
            for side, gathered in ((a, left), (b, right)):
                for row in side.rows():
                    gathered.add(row)
                    sketches.add(_text(row.pair))
            near = near_duplicates(sketches, len(left.ids))
    except OSError as error:
        raise DiskError(f"{tempfile.gettempdir()}: the sketches of the texts cannot be kept there: {error}") from error
    i, j, by_id = _matched(left, right)
    lengths, pairs = ([np.asarray(getattr(side, name)) for side in (left, right)] for name in ("responses", "pairs"))
    longer = np.sign(lengths[1][j].astype(np.int64) - lengths[0][i])
    facts = (a.scored_by, b.scored_by)
    found = Comparison(
        a=_facts_of(a, left, near.a),
        b=_facts_of(b, right, near.b),
        by_id=by_id,
        by_prompt=len(i) - by_id,
        equal=int(np.count_nonzero(pairs[1][j] == pairs[0][i])),
        longer=int(np.count_nonzero(longer > 0)),
        shorter=int(np.count_nonzero(longer < 0)),
        near=near.across,
        length_auc=auc(left.responses, right.responses) or 0.0,
        metrics=tuple(_metric(name, left, right, (i, j)) for name in sorted({*left.scores, *right.scores})),
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
        exact=_repeats(found.pairs),
        same_prompt=_repeats(found.prompts),
        near=near,
        refusals=found.refusals,
        languages=dict(found.languages.most_common()),
    )


def _repeats(keys: array[int]) -> int:
    """Return the number of keys that repeat an earlier one."""
    return len(keys) - len(np.unique(np.asarray(keys)))


def _matched(left: _Gathered, right: _Gathered) -> tuple[Places, Places, int]:
    """Return the places of samples that are in both, by id, then by question in order, and the number found by id."""
    by_id = _joined(np.asarray(left.ids), np.asarray(right.ids))
    free = [np.setdiff1d(np.arange(len(side.ids)), of) for side, of in zip((left, right), by_id, strict=True)]
    asked = [np.asarray(side.prompts)[of] for side, of in zip((left, right), free, strict=True)]
    questions = np.unique(np.concatenate(asked))
    more = _joined(*(_numbered(np.searchsorted(questions, some)) for some in asked))
    i, j = (np.concatenate((known, of[some])) for known, of, some in zip(by_id, free, more, strict=True))
    return i, j, len(by_id[0])


def _joined(left: Places, right: Places) -> tuple[Places, Places]:
    """Return the places of each key that is in both, in the order of the right side; a side has no key twice."""
    _, i, j = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    order = np.argsort(j)
    return i[order], j[order]


def _numbered(keys: Places) -> Places:
    """Return the keys, below 2³², each with the number of equal ones before it, as one number."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    firsts = np.searchsorted(ordered, ordered)
    numbered = np.empty(len(keys), np.int64)
    numbered[order] = ordered << 32 | np.arange(len(keys)) - firsts
    return numbered


def _metric(name: str, left: _Gathered, right: _Gathered, both: tuple[Places, Places]) -> MetricFacts:
    a, b = (side.scores.get(name, array("d")) for side in (left, right))
    moved = Moments()
    for i, j in zip(*both, strict=True) if a and b else ():
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
