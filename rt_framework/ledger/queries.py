"""Queries over the whole ledger. Rows are streamed; only counts are kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from attrs import frozen

from rt_framework.kit.compact import CompactStrings, LazySequence
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import ORIGINAL, Sample

WAITING = "waiting"
"""The temporary outcome of a sample that has reached a stage over the whole data set and waits for it."""

KEPT = ("rewritten", "original")
"""Outcomes of the samples that are kept."""


def waiting(ledger: Ledger) -> Sequence[Sample]:
    """Return the samples that wait for a stage over the whole data set, by row; each is read when it is taken."""
    found = ledger.rows("SELECT id FROM samples WHERE outcome = ? ORDER BY row", (WAITING,))
    ids = CompactStrings(row[0] for row in found)

    # The stage and its caller go through the samples side by side: the latest one is kept, so none is read twice.
    @lru_cache(maxsize=1)
    def sample(at: int) -> Sample:
        story = ledger.story(ids[at])
        if story is None:
            raise KeyError(ids[at])
        return story.sample

    return LazySequence(len(ids), sample)


def outcomes(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield id and outcome of each sample, by row."""
    return ledger.rows("SELECT id, outcome FROM samples ORDER BY row")


def ends(ledger: Ledger) -> Iterator[tuple[str, str, str | None]]:
    """Yield outcome, kept version and reason of each sample, by row."""
    return ledger.rows("SELECT outcome, kept, reason FROM samples ORDER BY row")


def failures(ledger: Ledger) -> Iterator[tuple[int, str]]:
    """Yield row and kind of each failure of each sample, by row."""
    # CROSS JOIN keeps SQLite from sorting: the outer loop already goes by row.
    return ledger.rows("SELECT row, kind FROM samples CROSS JOIN failures ON sample = id ORDER BY row, seq")


def shifts(ledger: Ledger) -> Iterator[tuple[str, float, float]]:
    """Yield metric, value of the original and value of the kept version, for each kept sample that has both values."""
    sql = (
        "SELECT old.metric, old.value, new.value FROM samples "
        "CROSS JOIN scores old ON old.sample = id AND old.version = ? "
        "CROSS JOIN scores new ON new.sample = id AND new.version = kept AND new.metric = old.metric "
        "WHERE outcome IN (?, ?) AND old.value IS NOT NULL AND new.value IS NOT NULL"
    )
    return ledger.rows(sql, (ORIGINAL, *KEPT))


def original_scores(ledger: Ledger, sample_id: str) -> dict[str, float | None]:
    """Return the scores of a sample's original version, by metric."""
    sql = "SELECT metric, value FROM scores WHERE sample = ? AND version = ?"
    return dict(ledger.rows(sql, (sample_id, ORIGINAL)))


def ending(ledger: Ledger, sample_id: str) -> tuple[str, str] | None:
    """Return the outcome of a sample and the JSON of its kept pair, or ``None`` for an unknown sample."""
    sql = "SELECT outcome, pair FROM samples JOIN versions ON sample = id AND name = kept WHERE id = ? ORDER BY seq"
    return next(ledger.rows(sql, (sample_id,)), None)


def answer(ledger: Ledger, call: str) -> str | None:
    """Return the raw text of the answer to a call, or ``None`` if there is no answer."""
    reply = ledger.reply(call)
    return None if reply is None else reply.text


def unread_calls(ledger: Ledger) -> frozenset[str]:
    """Return the keys of the calls with an answer that was paid for and could not be read."""
    return frozenset(row[0] for row in ledger.rows("SELECT DISTINCT call FROM attempts WHERE raw IS NOT NULL"))


def unread_answers(ledger: Ledger, call: str) -> list[tuple[int, int, bytes]]:
    """Return attempt, cost in nano-dollars and body of each unreadable answer to a call, oldest first."""
    sql = "SELECT id, cost, raw FROM attempts WHERE call = ? AND raw IS NOT NULL AND state = 'failed' ORDER BY id"
    return list(ledger.rows(sql, (call,)))


@frozen
class Bill:
    """The calls, requests, tokens and cost of one reflection."""

    reflection: str
    calls: int
    requests: int
    answered: int
    prompt_tokens: int
    completion_tokens: int
    nano_dollars: int


def bills(ledger: Ledger) -> list[Bill]:
    """Return the bill of each reflection, by name."""
    # As in Ledger.spent, an open attempt counts with its reservation.
    sql = (
        "SELECT reflection, COUNT(DISTINCT key), COUNT(*), SUM(state = 'answered'), "
        "TOTAL(json_extract(reply, '$.usage.prompt_tokens')), TOTAL(json_extract(reply, '$.usage.completion_tokens')), "
        "TOTAL(CASE state WHEN 'intent' THEN reserved ELSE cost END) "
        "FROM calls JOIN attempts ON call = key GROUP BY reflection ORDER BY reflection"
    )
    return [Bill(row[0], *map(int, row[1:])) for row in ledger.rows(sql)]
