"""The contracts of selectors: between the versions of a sample, and between samples."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Any
from unittest import SkipTest

from attrs import evolve, frozen

from rt_framework.errors import Unscorable
from rt_framework.kit.compact import LazySequence
from rt_framework.model import ORIGINAL, Choice, Pair, Score, Scored, Verdict, Version
from rt_framework.spans import Span
from rt_framework.testing.awkward import awkward_pairs
from rt_framework.testing.chain import frame
from rt_framework.testing.contracts.base import ColumnContract, outcome

_ROUNDS = 12
_MANY = 200
"""Number of rows of a data set in checks of how many rows are held in memory."""
_NOTHING = (
    Score(None, "empty", "the target is empty"),
    Score(None, "nonfinite", "no number"),
    *(Score(value, "out_of_range", "not in range") for value in (-1e6, 0.5, 1e6)),
)
"""Scores with which a version must never win."""


class _ByScores(ColumnContract):
    """Checks that both kinds of selector share."""

    kind = "selectors"

    def needs(self) -> Sequence[str]:
        """Return the names of the metrics that the selector reads."""
        needs = outcome(lambda: tuple(self.make().needs))
        if not all(isinstance(name, str) for name in needs):
            raise SkipTest("needs holds no names")
        return tuple(needs)

    def test_needs_are_names(self) -> None:
        """``needs`` lists names of metrics."""
        needs = self.make().needs
        good = not isinstance(needs, str) and all(isinstance(name, str) and name for name in needs)
        assert good, f"expected needs to list names of metrics, found {needs!r}; a text alone is no list"

    def decided(self) -> list[str]:
        """Return the decisions of the selector about some rows."""
        raise NotImplementedError

    def test_another_process_decides_the_same(self) -> None:
        """Another process decides the same, because a resumed run must reach the same result."""
        decided = outcome(self.decided)
        if decided != outcome(self.decided):
            raise SkipTest("it decides differently each time")
        if not isinstance(decided, list):
            raise SkipTest(f"it decides nothing: {decided}")
        assert decided == self.elsewhere("decided"), (
            "another process decides differently about the same rows; hash() of a text and the order of a set differ "
            "there: use hashlib, and sort"
        )


class SelectorContract(_ByScores):
    """Contract of a selector between versions of a sample. Order and ties do not matter if it reads no score."""

    def test_kept_is_a_candidate(self) -> None:
        """The kept version is the name of one of the candidates."""
        for rows in self._rounds():
            choice = self._choose(rows)
            names = [row.version.name for row in rows]
            assert choice.kept in names, f"expected one of {', '.join(names)} to be kept, found {choice.kept!r}"

    def test_the_choice_has_a_reason(self) -> None:
        """Every choice has a reason."""
        for rows in self._rounds():
            reason = self._choose(rows).reason
            assert isinstance(reason, str) and reason.strip(), f"expected a reason in words, found {reason!r}"

    def test_choosing_is_pure(self) -> None:
        """The same candidates give the same choice when asked again."""
        selector, rounds = self.make(), list(self._rounds())
        first = [outcome(selector.choose, rows) for rows in rounds]
        again = [outcome(selector.choose, rows) for rows in reversed(rounds)]
        assert first == again[::-1], "the same candidates gave another choice when asked again; keep nothing"

    def test_the_order_of_rewrites_does_not_matter(self) -> None:
        """With different scores the same version is kept for every order of the rewrites."""
        self._scored()
        for held, *rivals in self._rounds():
            kept = {self._choose([held, *order]).kept for order in permutations(rivals)}
            assert len(kept) == 1, (
                f"{' or '.join(sorted(kept))} is kept, by the order of the rewrites; compare all of them"
            )

    def test_the_held_version_is_kept_on_a_tie(self) -> None:
        """Of versions with equal scores the current version, which comes first, is kept."""
        needs = self._scored()
        for value in (0.25, 0.5, 0.75, 0.99):
            for count in (2, 3, 4):
                rows = self._rows(count, _Alike(Score(value), Score(value)), needs)
                kept = self._choose(rows).kept
                assert kept == ORIGINAL, f"with equal scores '{kept}' is kept; only a better version may win"

    def test_what_has_no_score_never_wins(self) -> None:
        """A rewrite without a score, or with a score out of range, does not replace the current version."""
        needs = self._scored()
        for score in _NOTHING:
            for held in (Score(0.5), score):
                rows = self._rows(3, _Alike(held, score), needs)
                kept = self._choose(rows).kept
                assert kept == ORIGINAL, (
                    f"'{kept}' wins with {score}; a score counts only where score.eligible is true, and the "
                    "current version stays when no rewrite can win"
                )

    def decided(self) -> list[str]:
        """Return the names of the versions that are kept."""
        return [str(self._choose(rows).kept) for rows in self._rounds()]

    def _choose(self, rows: Sequence[Scored]) -> Choice:
        """Return the choice of a newly made selector, which cannot remember earlier choices."""
        choice = self.make().choose(rows)
        assert isinstance(choice, Choice), f"expected a Choice, found {choice!r}"
        return choice

    def _rounds(self) -> Iterator[list[Scored]]:
        """Yield lists of candidates whose scores all differ."""
        needs = self.needs()
        for number in range(_ROUNDS):
            values = random.Random(number).sample(range(2, 98), 4 * max(1, len(needs)))  # noqa: S311 - repeatable
            yield self._rows(4, _Drawn(values, {name: place for place, name in enumerate(needs)}), needs)

    def _rows(self, count: int, score: Callable[[int, str], Score], needs: Sequence[str]) -> list[Scored]:
        """Return versions of one sample, the held one first."""
        versions = [Version(ORIGINAL, Pair("Name a river.", "", "The Rhine."))]
        versions += [
            Version(
                f"rewrite-{number}", Pair("Name a river.", "", f"The Rhine is river {number}."), ORIGINAL, "response"
            )
            for number in range(1, count)
        ]
        scores = [{name: score(position, name) for name in needs} for position in range(count)]
        extra = self.extra_of(0)
        return [Scored("sample", 0, version, scored, extra) for version, scored in zip(versions, scores, strict=True)]

    def _scored(self) -> Sequence[str]:
        needs = self.needs()
        if not needs:
            raise SkipTest("it reads no score")
        return needs


class DatasetSelectorContract(_ByScores):
    """Contract of a selector between the samples of a data set."""

    holds_rows: bool = False
    """True if the selector needs the texts of all rows at once; they then have to fit in the memory of its users."""

    def test_one_verdict_a_row(self) -> None:
        """Each row gets one verdict, which keeps it or not, in the order given."""
        verdicts = list(self.make().select(self._set(25)))
        assert len(verdicts) == 25, f"expected 25 verdicts for 25 rows, found {len(verdicts)}"
        odd = next(
            (verdict for verdict in verdicts if not isinstance(verdict, Verdict) or not isinstance(verdict.keep, bool)),
            None,
        )
        assert odd is None, f"expected Verdict(keep, reason) with keep true or false, found {odd!r}"

    def test_no_row_and_one_row_are_enough(self) -> None:
        """The selector works for an empty data set and for a single row."""
        for count in (0, 1):
            verdicts = outcome(self._count, count)
            assert verdicts == count, f"expected {count} verdicts for {count} rows, found {verdicts}"

    def test_every_verdict_has_a_reason(self) -> None:
        """Every verdict has a reason."""
        for verdict in self.make().select(self._set(25)):
            assert isinstance(verdict.reason, str) and verdict.reason.strip(), f"a verdict has no reason: {verdict!r}"

    def test_selecting_is_pure(self) -> None:
        """The same rows give the same verdicts when asked again."""
        selector = self.make()
        once, twice = (outcome(lambda: list(selector.select(self._set(25)))) for _ in range(2))
        assert once == twice, "the same rows gave other verdicts when asked again; keep nothing between calls"

    def test_the_order_of_rows_does_not_matter(self) -> None:
        """Each sample gets the same verdict for every order of the rows."""
        rows = list(self._set(25))
        kept = self._kept(rows)
        for seed in range(3):
            order = random.Random(seed).sample(rows, len(rows))  # noqa: S311 - repeatable, not secret
            changed = sorted(kept ^ self._kept(order))
            assert not changed, (
                f"{', '.join(changed)} has another verdict in another order; decide by scores, texts or ids"
            )

    def test_rows_are_not_all_held(self) -> None:
        """The selector holds ids and scores, not rows, because all texts may not fit into memory."""
        if self.holds_rows:
            raise SkipTest("holds_rows is set: it needs the memory for all texts at once")
        rows, held = self._set(_MANY), _Held()
        outcome(lambda: list(self.make().select(LazySequence(_MANY, lambda position: held.noted(rows[position])))))
        assert held.most <= _MANY // 2, (
            f"{held.most} of {_MANY} rows were in memory at once; keep only what you need of each row, "
            "or set holds_rows = True"
        )

    def test_what_has_no_score_is_never_selected(self) -> None:
        """A row without a score, or with a score out of range, is not kept."""
        needs = self.needs()
        if not needs:
            raise SkipTest("it reads no score")
        rows = [
            self._row(position, {name: _NOTHING[position % 5] if position < 10 else _value(position) for name in needs})
            for position in range(25)
        ]
        wrong = [
            row for row, verdict in zip(rows, self.make().select(rows), strict=False) if verdict.keep and row.row < 10
        ]
        assert not wrong, f"a row with {wrong[0].scores} is selected; a score counts only where score.eligible is true"

    def test_embeds_gives_spans(self) -> None:
        """``embeds``, if it is there, gives the same spans of a pair each time, or raises ``Unscorable``."""
        embeds = self._embeds()
        for pair in [self._row(0, {}).version.pair, *awkward_pairs()]:
            try:
                spans, again = list(embeds(pair, frame())), list(embeds(pair, frame()))
            except Unscorable:
                continue
            except Exception as error:
                raise AssertionError(
                    f"embeds raises {error!r:.200}; raise Unscorable for a pair without a vector"
                ) from None
            assert all(isinstance(span, Span) for span in spans), f"expected spans, found {spans!r:.200}"
            assert spans == again, f"embeds gives other spans of one pair when asked again: {spans!r:.200}"

    def test_rows_without_a_vector_are_decided_on(self) -> None:
        """A selector that reads vectors decides on rows without one too, because a text may have none."""
        self._embeds()
        rows = [evolve(row, vector=None) if row.row % 3 else row for row in self._set(25)]
        verdicts = outcome(lambda: list(self.make().select(rows)))
        assert isinstance(verdicts, list) and len(verdicts) == 25, (
            f"with rows whose vector is None the selector gave {verdicts!r:.200}; give such rows a verdict as well"
        )

    def decided(self) -> list[str]:
        """Return the ids of the samples that are kept."""
        return sorted(self._kept(self._set(_MANY)))

    def _embeds(self) -> Any:
        embeds = getattr(self.make(), "embeds", None)
        if embeds is None:
            raise SkipTest("it reads no vectors")
        return embeds

    def _set(self, count: int) -> Sequence[Scored]:
        """Return rows of a data set, made only when they are taken, as in a run."""
        needs = self.needs()
        return LazySequence(count, lambda position: self._row(position, {name: _value(position) for name in needs}))

    def _row(self, position: int, scores: Mapping[str, Score]) -> Scored:
        version = Version(ORIGINAL, Pair(f"Name river {position}.", "", "The Rhine flows. " * (position + 1)))
        extra, vector = partial(self.extra_of, position), partial(_vector, position)
        return Scored(f"sample-{position}", position, version, scores, extra, vector)

    def _count(self, count: int) -> int:
        return len(list(self.make().select(self._set(count))))

    def _kept(self, rows: Sequence[Scored]) -> set[str]:
        judged = zip(rows, self.make().select(rows), strict=False)
        return {row.sample_id for row, verdict in judged if verdict.keep}


@frozen
class _Alike:
    """A score function: one score for the held version, another one for all rewrites."""

    held: Score
    others: Score

    def __call__(self, position: int, _name: str) -> Score:
        return self.others if position else self.held


@frozen
class _Drawn:
    """A score function: scores that all differ, by candidate and metric."""

    values: Sequence[int]
    place: Mapping[str, int]

    def __call__(self, position: int, name: str) -> Score:
        return Score(self.values[position + 4 * self.place[name]] / 100)


class _Held:
    """A counter of the rows whose texts are still referenced."""

    def __init__(self) -> None:
        self.most = 0
        self._pairs: list[weakref.ref[Pair]] = []

    def noted(self, row: Scored) -> Scored:
        self._pairs = [
            reference for reference in (*self._pairs, weakref.ref(row.version.pair)) if reference() is not None
        ]
        self.most = max(self.most, len(self._pairs))
        return row


def _value(position: int) -> Score:
    return Score(round(0.02 + 0.96 * random.Random(position).random(), 6))  # noqa: S311 - repeatable, not secret


def _vector(position: int) -> Sequence[float]:
    draw = random.Random(position)  # noqa: S311 - repeatable, not secret
    return tuple(draw.uniform(-1, 1) for _ in range(4))
