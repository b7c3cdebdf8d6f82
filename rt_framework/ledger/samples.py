"""The ledger's tables of samples: what became of each one in the last run, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from attrs import field, frozen

from rt_framework.kit.compact import CompactStrings, LazySequence
from rt_framework.ledger.database import Database
from rt_framework.ledger.handovers import HandoverTable
from rt_framework.ledger.statements import Statement, as_json, rows_of
from rt_framework.model import ORIGINAL, Decision, Failure, Handover, Pair, Sample, Score, Version, stored

WAITING = "waiting"
"""The temporary outcome of a sample that has reached a stage over the whole data set and waits for it."""

KEPT = ("rewritten", "original")
"""Outcomes of the samples that are kept."""

_MOST_ROWS = 50
"""Most rows of a sample that one statement inserts."""

_ID_DIGITS = 16
"""Number of hexadecimal digits, a hash of the sample's contents, with which a sample's id begins."""


@frozen
class SampleHistory:
    """The full record of one finished sample."""

    sample: Sample
    """The sample with its versions, scores, decisions and failures."""
    outcome: str
    """``rewritten``, ``original``, ``dropped`` or ``failed``; ``waiting`` before a stage over the whole data set."""
    reason: str | None
    """Reason of a drop or failure."""
    handovers: Mapping[str, tuple[Handover, ...]] = field(factory=dict)
    """Failures of other teachers that led to the answers of fallbacks, by the version made of such an answer."""

    @property
    def is_kept(self) -> bool:
        """True if the sample was kept, in its original version or rewritten."""
        return self.outcome in KEPT

    @property
    def is_waiting(self) -> bool:
        """True if the run ended before a stage over the whole data set has decided about the sample."""
        return self.outcome == WAITING


def is_row(text: str) -> bool:
    """Return whether a user's *text* is a row number: only digits, and fewer than the 16 with which an id begins."""
    return text.isascii() and text.isdigit() and len(text) < _ID_DIGITS


class SampleTable:
    """The samples in one ledger. Queries over all of them stream their rows."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._handovers = HandoverTable(db)

    async def record(self, history: SampleHistory) -> None:
        """Commit a finished sample, in place of the record by an earlier run."""
        await self._db.write(list(_statements(history)))

    async def forget(self) -> None:
        """Delete the records of all samples, to start a run afresh; answers and losses stay."""
        tables = ("samples", "versions", "scores", "decisions", "failures", "handovers")
        await self._db.write([Statement(f"DELETE FROM {table}") for table in tables])  # noqa: S608 - fixed names

    # --- one sample -------------------------------------------------------------------------

    def find(self, text: str) -> list[str]:
        """Return the ids of the samples that *text* names: by row number if :func:`is_row` says so, else by id.

        An exact id comes first; else all ids that begin with *text* are returned.
        """
        if is_row(text):
            return [row[0] for row in self._db.rows("SELECT id FROM samples WHERE row = ?", (int(text),))]
        for match in ("id = ?1", "substr(id, 1, length(?1)) = ?1"):
            rows = self._db.rows(f"SELECT id FROM samples WHERE {match} ORDER BY row", (text,))  # noqa: S608 - fixed
            ids = [row[0] for row in rows]
            if ids:
                return ids
        return []

    def history(self, sample_id: str) -> SampleHistory | None:
        """Return the record of one sample, or ``None``."""
        found = self._db.first("SELECT number, row, kept, outcome, reason FROM samples WHERE id = ?", (sample_id,))
        if found is None:
            return None
        number, row, kept, outcome, reason = found
        versions = self._of("SELECT name, pair, parent, reflection, call FROM versions", number)
        decisions = self._of("SELECT stage, candidates, kept, reason FROM decisions", number)
        failures = self._of("SELECT stage, kind, reason, call FROM failures", number)
        sample = Sample(
            id=sample_id,
            row=row,
            versions=tuple(Version(v[0], self.pair(v[1], sample_id), *v[2:]) for v in versions),
            kept=kept,
            decisions=tuple(Decision(d[0], self._candidates(d[1], sample_id), d[2], d[3]) for d in decisions),
            failures=tuple(Failure(*f) for f in failures),
            scores=scores_of(self._db, number),
        )
        return SampleHistory(sample, outcome, reason, self._handovers.behind(number))

    def ending(self, sample_id: str) -> tuple[str, str] | None:
        """Return the outcome of a sample and the JSON of its kept pair, or ``None`` for an unknown sample."""
        sql = """
        SELECT outcome, pair FROM samples JOIN versions ON sample = number AND name = kept WHERE id = ? ORDER BY seq
        """
        row: tuple[str, str] | None = self._db.first(sql, (sample_id,))
        return row

    def pair(self, text: Any, sample_id: str) -> Pair:
        """Return the pair of a version of a sample, parsed from its JSON *text*."""
        return self._db.parsed(text, Pair, "sample", sample_id)

    def original_scores(self, sample_id: str) -> dict[str, float | None]:
        """Return the scores of a sample's original version, by metric."""
        sql = "SELECT metric, value FROM samples JOIN scores ON sample = number WHERE id = ? AND version = ?"
        return dict(self._db.rows(sql, (sample_id, ORIGINAL)))

    # --- all samples ------------------------------------------------------------------------

    def histories(self) -> Iterator[SampleHistory]:
        """Yield the record of every sample, ordered by row."""
        for row in self._db.rows("SELECT id FROM samples ORDER BY row"):
            history = self.history(row[0])
            if history is not None:
                yield history

    def waiting(self) -> Sequence[Sample]:
        """Return the samples that wait for a stage over the whole data set, by row; each is read when it is taken."""
        rows = self._db.rows("SELECT id FROM samples WHERE outcome = ? ORDER BY row", (WAITING,))
        ids = CompactStrings(row[0] for row in rows)

        # The stage and its caller go through the samples side by side: the latest one is kept, so none is read twice.
        @lru_cache(maxsize=1)
        def sample(position: int) -> Sample:
            history = self.history(ids[position])
            if history is None:
                raise KeyError(ids[position])
            return history.sample

        return LazySequence(len(ids), sample)

    def outcomes(self) -> Iterator[tuple[str, str, str, str | None]]:
        """Yield id, outcome, kept version and reason of each sample, by row."""
        return self._db.rows("SELECT id, outcome, kept, reason FROM samples ORDER BY row")

    def failures(self) -> Iterator[tuple[int, str, str]]:
        """Yield row, stage and kind of each failure of each sample, by row."""
        # CROSS JOIN keeps SQLite from sorting: the outer loop already goes by row.
        return self._db.rows(
            "SELECT row, stage, kind FROM samples CROSS JOIN failures ON sample = number ORDER BY row, seq"
        )

    def shifts(self) -> Iterator[tuple[str, float, float]]:
        """Yield metric, score of the original and score of the kept version, for each kept sample that has both."""
        sql = (
            "SELECT old.metric, old.value, new.value FROM samples "
            "CROSS JOIN scores old ON old.sample = number AND old.version = ? "
            "CROSS JOIN scores new ON new.sample = number AND new.version = kept AND new.metric = old.metric "
            "WHERE outcome IN (?, ?) AND old.value IS NOT NULL AND new.value IS NOT NULL"
        )
        return self._db.rows(sql, (ORIGINAL, *KEPT))

    # --- parts of a history -----------------------------------------------------------------

    def _of(self, select: str, number: int) -> Iterator[Any]:
        return self._db.rows(f"{select} WHERE sample = ? ORDER BY seq", (number,))

    def _candidates(self, text: Any, sample_id: str) -> tuple[str, ...]:
        return self._db.parsed(text, tuple[str, ...], "sample", sample_id)


def scores_of(db: Database, number: int) -> dict[str, dict[str, Score]]:
    """Return the scores of the sample with a number in the ledger, by version and metric."""
    scores: dict[str, dict[str, Score]] = {}
    sql = "SELECT version, metric, value, status, reason FROM scores WHERE sample = ? ORDER BY version, metric"
    for version, metric, *score in db.rows(sql, (number,)):
        scores.setdefault(version, {})[metric] = Score(*score)
    return scores


def _statements(history: SampleHistory) -> Iterator[Statement]:
    sample = history.sample
    # An earlier record of the sample is deleted by a trigger.
    yield Statement(
        "INSERT OR REPLACE INTO samples (id, row, kept, outcome, reason) VALUES (?, ?, ?, ?, ?)",
        (sample.id, sample.row, sample.kept, history.outcome, history.reason),
    )
    versions = [
        (seq, one.name, one.parent, one.reflection, one.call, as_json(stored(one.pair)))
        for seq, one in enumerate(sample.versions)
    ]
    scores = [
        (name, metric, score.value, score.status, score.reason)
        for name, by_metric in sample.scores.items()
        for metric, score in by_metric.items()
    ]
    decisions = [
        (seq, one.stage, as_json(one.candidates), one.kept, one.reason) for seq, one in enumerate(sample.decisions)
    ]
    failures = [(seq, one.stage, one.kind, one.reason, one.call) for seq, one in enumerate(sample.failures)]
    tables: dict[str, Sequence[Sequence[Any]]]
    tables = {"versions": versions, "scores": scores, "decisions": decisions, "failures": failures}
    for table, rows in tables.items():
        # One statement for some rows, because each makes the threads of the process take turns.
        for some in (rows[first : first + _MOST_ROWS] for first in range(0, len(rows), _MOST_ROWS)):
            # Tables without row ids, as these are, leave it the number of the sample.
            marks = rows_of(some, "last_insert_rowid()")
            yield Statement(f"INSERT INTO {table} VALUES {marks}", [value for row in some for value in row])  # noqa: S608
