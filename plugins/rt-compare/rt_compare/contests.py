"""Pairs of answers to one question, as rows in memory that a pipeline can take.

The pair of such a row is a conversation in which the question is asked twice: B's answer is in the last turn of its
history, and A's answer is its response. So whatever the question to the judge needs stands in the pair, and the core
knows its length before anything is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from rt_compare.sides import ComparedSample, Side, prompt_key
from rt_framework import Pair, Record, Turn
from rt_framework.cli.options import Source, rows_source
from rt_framework.errors import DataError


@frozen
class Contests:
    """The questions that both sides answer differently."""

    source: Source
    """A row for each question, in the order of A."""
    shared: int
    """Number of questions that both sides hold."""
    same: int
    """Number of these that both sides answer in the same words, so that there is nothing to judge or ask."""


def contest(a: Pair, b: Pair) -> Pair:
    """Return two answers to one question as one pair."""
    return evolve(a, history=(*a.history, Turn("user", b.user_turn), Turn("assistant", b.response)))


def answers(pair: Pair) -> tuple[Pair, Pair]:
    """Return the pairs of A and of B that :func:`contest` has joined.

    A pair without an earlier turn counts as joined with itself: with such a fixed pair the core records the wording of
    a question.
    """
    a = evolve(pair, history=pair.history[:-2])
    return a, evolve(a, response=pair.history[-1].content) if pair.history else a


def contests(a: Side, b: Side) -> Contests:
    """Return the questions that both sides hold and answer differently; one that occurs twice counts twice.

    The answers of B to these are in memory until the rows are made; the rows themselves are on disk.

    Raises:
        DataError: there is nothing to judge.
    """
    known = {key: row.pair.hash for key, row in _questions(a)}
    theirs: dict[str, Pair] = {}
    shared = 0
    for key, row in _questions(b):
        shared += key in known
        if key in known and known[key] != row.pair.hash:
            theirs[key] = row.pair
    if not shared:
        raise DataError(f"{a.path} and {b.path} share no question: a judge compares answers to the same instruction")
    if not theirs:
        raise DataError(f"{a.path} and {b.path} answer every question that they share in the same words")
    return Contests(rows_source(_rows(a, theirs)), shared, shared - len(theirs))


def _rows(a: Side, theirs: Mapping[str, Pair]) -> Iterator[Record]:
    for key, row in _questions(a):
        if key in theirs:
            yield Record(contest(row.pair, theirs[key]))


def _questions(side: Side) -> Iterator[tuple[str, ComparedSample]]:
    """Yield each row with a key of its question: a hash of the question, and how often it occurred before."""
    asked: Counter[str] = Counter()
    for row in side.rows():
        prompt = prompt_key(row.pair)
        yield f"{prompt}-{asked[prompt]}", row
        asked[prompt] += 1
