"""A list of the samples in a ledger: filtered, in the order of the rows or of a score, a line about each."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from attrs import frozen

from rt_framework.ledger.database import Database
from rt_framework.ledger.samples import KEPT, scores_of
from rt_framework.model import Pair, Score


@frozen
class Wanted:
    """The samples that a list is to hold: those for which every condition holds that is given."""

    beginning: str | None = None
    """Beginning of the id."""
    outcomes: tuple[str, ...] = ()
    """Outcomes, of which the sample has one."""
    kept: str | None = None
    """Name of the version that was kept."""
    reason: str | None = None
    """Text in the reason of a drop or failure; capitals, and the kind and number of blanks, do not matter."""
    failure: str | None = None
    """Kind of a failure that the sample met."""
    status: str | None = None
    """Status of a score of any of the sample's versions."""
    search: str | None = None
    """Text in any version of the sample, as in a reason."""
    by: str | None = None
    """Metric by which the list is ordered: by its score of the version that each sample ended with."""
    falling: bool = False
    """True if the highest score comes first. Samples without a score come last."""


@frozen
class Listed:
    """A sample in a list."""

    row: int
    """Row number in the input, from 0."""
    id: str
    """Id of the sample."""
    outcome: str
    """``rewritten``, ``original``, ``dropped``, ``failed`` or ``waiting``."""
    version: str
    """Name of the version that the sample ended with."""
    reason: str | None
    """Reason of a drop or failure."""
    scores: Mapping[str, Score]
    """Scores of that version, by metric."""
    instruction: str
    """Instruction of the original version."""


class Listing:
    """The samples in one ledger as a list, read one by one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def count(self, wanted: Wanted) -> int:
        """Return the number of samples that are wanted."""
        if wanted.search is None and wanted.reason is None:
            where, values = _where(wanted)
            return int(self._db.first(f"SELECT COUNT(*) FROM samples {where}", values)[0])  # noqa: S608 - fixed texts
        return sum(1 for _ in self._matching(wanted))

    def of(self, wanted: Wanted) -> Generator[Listed]:
        """Yield the samples that are wanted."""
        for number, row, sample_id, outcome, version, reason in self._matching(wanted):
            scores = scores_of(self._db, number).get(version, {})
            instruction = next(self._pairs(number, sample_id)).instruction
            yield Listed(row, sample_id, outcome, version, reason, scores, instruction)

    def _matching(self, wanted: Wanted) -> Iterator[tuple[int, int, str, str, str, str | None]]:
        """Yield number in the ledger, row, id, outcome, version and reason of the samples that are wanted."""
        for found in self._db.rows(*_query(wanted)):
            number, _, sample_id, _, _, reason = found
            if wanted.reason is not None and not _holds(wanted.reason, reason or ""):
                continue
            pairs = self._pairs(number, sample_id)
            if wanted.search is None or any(_holds(wanted.search, *_texts(pair)) for pair in pairs):
                yield found

    def _pairs(self, number: int, sample_id: str) -> Iterator[Pair]:
        """Yield the pairs of all versions of a sample, the original first."""
        for row in self._db.rows("SELECT pair FROM versions WHERE sample = ? ORDER BY seq", (number,)):
            yield self._db.parsed(row[0], Pair, "sample", sample_id)


def _query(wanted: Wanted) -> tuple[str, list[str]]:
    """Return the query for the values of :meth:`Listing._matching`, with its own; no texts are compared in it."""
    where, values = _where(wanted)
    ranked, order = "", "row"
    if wanted.by is not None:
        ranked = "LEFT JOIN scores AS own ON own.sample = number AND own.version = samples.kept AND own.metric = ?"
        order = f"own.value IS NULL, own.value {'DESC' if wanted.falling else 'ASC'}, row"
        values = [_stored(wanted.by), *values]
    sql = f"SELECT number, row, id, outcome, samples.kept, samples.reason FROM samples {ranked} {where}"  # noqa: S608 - fixed texts
    return f"{sql} ORDER BY {order}", values


def _where(wanted: Wanted) -> tuple[str, list[str]]:
    """Return the conditions of a query that need no text, and their values."""
    conditions = {
        "instr(id, ?) = 1": wanted.beginning,
        "samples.kept = ?": wanted.kept,
        "EXISTS (SELECT 1 FROM failures WHERE failures.sample = number AND kind = ?)": wanted.failure,
        "EXISTS (SELECT 1 FROM scores AS any WHERE any.sample = number AND any.status = ?)": wanted.status,
    }
    given = {sql: value for sql, value in conditions.items() if value is not None}
    outcomes = KEPT if wanted.kept is not None and not wanted.outcomes else wanted.outcomes
    either = [f"outcome IN ({', '.join('?' * len(outcomes))})"] if outcomes else []
    where = " AND ".join([*given, *either])
    return f"WHERE {where}" if where else "", [*map(_stored, given.values()), *outcomes]


def _stored(text: str) -> str:
    """Return a user's text as SQLite takes it: lone surrogates stand for bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


def _holds(text: str, *texts: str) -> bool:
    """Return whether one of *texts* holds a text; capitals, and the kind and number of blanks, do not matter."""
    wanted = _plain(text)
    return any(wanted in _plain(one) for one in texts)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _texts(pair: Pair) -> Iterator[str]:
    """Yield everything that is written in a pair and around it."""
    yield from (pair.instruction, pair.input, pair.response, pair.system or "", pair.reasoning or "")
    yield from (turn.content for turn in (*pair.history, *pair.since, *pair.after))
