"""The memory of a run: one SQLite file that holds every paid answer and every computed loss.

A run is resumed by running it again: an answer or loss that is found here is not asked for or computed twice. One
thread owns the only writable connection and commits many writes at once; an ``await`` on a write returns after its
commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from rt_framework.errors import DataError, DiskError, TeacherError
from rt_framework.kit.compact import packed
from rt_framework.ledger.damage import TOLD, Told
from rt_framework.ledger.reader import Reader
from rt_framework.ledger.writer import Statement, open_writer
from rt_framework.model import Decision, Failure, Reply, Request, Sample, Score, Version
from rt_framework.spans import SpanLoss

_ID_DIGITS = 16
"""Number of hexadecimal digits, a hash of the sample's contents, with which a sample's id begins."""

_MOST_ROWS = 150
"""Most losses that one statement inserts."""


_FAILED = "SELECT reflection, calls.pair FROM failures JOIN calls ON calls.key = failures.call WHERE kind = ?"
_COST = """
SELECT TOTAL(CASE state WHEN 'intent' THEN reserved ELSE cost END) FROM attempts JOIN calls ON call = key WHERE pair = ?
"""
_WITHDRAW = "UPDATE calls SET answer = NULL WHERE reflection = ? AND pair = ?"
_RELEASE = """
UPDATE attempts SET state = 'failed' WHERE state = 'unknown'
AND call IN (SELECT key FROM calls WHERE reflection = ? AND pair = ?)
"""


@frozen
class Story:
    """The full record of one finished sample."""

    sample: Sample
    outcome: str
    """``rewritten``, ``original``, ``dropped`` or ``failed``; ``waiting`` before a stage over the whole data set."""
    reason: str | None


@frozen
class Call:
    """One question to the teacher, with every attempt at it."""

    key: str
    teacher: str
    request: Request
    reply: Reply | None
    attempts: tuple[tuple[str, str | None, str | None], ...]
    """State, kind of failure and message of each attempt, oldest first."""


class Ledger(Reader):
    """A ledger that is read directly and written through one thread.

    Args:
        path: the file; created, or brought up to date, unless *readonly*.
        readonly: True to read only; nothing is created or changed then.
        beside: files that must not be moved or replaced while the ledger is written to.

    Raises:
        DataError: the file is missing, or is not a ledger of this version.
        DiskError: the file cannot be written, or is damaged. Every method that reads raises this too.
    """

    def __init__(self, path: Path, readonly: bool = False, beside: Iterable[Path] = ()) -> None:
        if readonly and not path.is_file():
            raise DataError(f"{path}: no ledger here; is this a run directory?")
        self._writer = None if readonly else open_writer(path, beside)
        super().__init__(path)

    def flush(self, seconds: float) -> None:
        """Wait until all pending writes are committed, *seconds* at most. May be called from a signal handler."""
        if self._writer is not None:
            self._writer.flush(seconds)

    def close(self) -> None:
        """Commit all pending writes and close the file."""
        # The reading connection is closed first: an open reader keeps the log from being written back completely.
        self._db.close()
        if self._writer is not None:
            self._writer.close(self.sound)

    def check(self) -> None:
        """Check the whole file, before outputs are made from it.

        Raises:
            DiskError: the file is damaged, or was moved or replaced.
        """
        if self._writer is not None:
            self._writer.check_held()
        self.look_through()

    # --- meta -------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """Return a value noted about the whole run, or ``None``."""
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else self._parsed(row[0], object, "meta", key)

    async def set_meta(self, key: str, value: Any) -> None:
        """Note a JSON value about the whole run."""
        await self.write([("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _json(value)))])

    # --- calls ------------------------------------------------------------------------------

    def reply(self, key: str) -> Reply | None:
        """Return the committed answer of a call, or ``None``."""
        row = self._one("SELECT reply FROM calls JOIN attempts ON attempts.id = answer WHERE key = ?", (key,))
        return None if row is None else self._reply(row[0], key)

    async def intend(self, key: str, teacher: str, request: Request, reserved: int) -> int:
        """Commit that an attempt is about to be sent, and return its number.

        Args:
            key: key of the call.
            teacher: identity of the teacher.
            request: the request that will be sent.
            reserved: most that the attempt can cost, in nano-dollars.
        """
        # Committed before sending, so that a run that is killed meanwhile knows that the attempt may be billed.
        return (await self.write(list(intent_rows(key, teacher, request, reserved, None))))[-1]

    async def answered(self, attempt: int, key: str, reply: Reply) -> None:
        """Commit the raw answer of an attempt, after which the call is not sent again unless it is withdrawn."""
        # One commit for both, so that no answer is charged without being in use.
        done = "UPDATE attempts SET state = 'answered', kind = NULL, message = ?, cost = ?, reply = ? WHERE id = ?"
        await self.write(
            [
                (done, (reply.note or None, reply.nano_dollars, _json(asdict(reply)), attempt)),
                ("UPDATE calls SET answer = ? WHERE key = ?", (attempt, key)),
            ]
        )

    async def attempt_failed(self, attempt: int, error: TeacherError, cost: int) -> None:
        """Commit that an attempt gave no answer, or an unreadable one, of which the body is kept.

        Args:
            attempt: number of the attempt.
            error: failure of the attempt.
            cost: nano-dollars charged to the budget: the whole reservation if the attempt may be billed.
        """
        sql = "UPDATE attempts SET state = 'failed', kind = ?, message = ?, cost = ?, raw = ? WHERE id = ?"
        await self.write([(sql, (error.kind.name, error.message, cost, error.raw, attempt))])

    async def settle_interrupted(self) -> int:
        """Mark the attempts that a killed run left open as unknown, charge them in full, and return their number.

        Attempts in a batch stay open, because the provider can be asked for their answers.
        """
        left = "state = 'intent' AND batch IS NULL"
        count = self._one(f"SELECT COUNT(*) FROM attempts WHERE {left}", ())  # noqa: S608 - fixed text
        change = "state = 'unknown', kind = 'interrupted_unknown', cost = reserved"
        await self.write([(f"UPDATE attempts SET {change} WHERE {left}", ())])  # noqa: S608 - fixed text
        return int(count[0]) if count else 0

    def spent(self) -> int:
        """Return the nano-dollars that were paid, perhaps paid, or are reserved."""
        # An open attempt counts with its reservation, because it may be billed up to that amount.
        row = self._one("SELECT TOTAL(CASE state WHEN 'intent' THEN reserved ELSE cost END) FROM attempts", ())
        return int(row[0]) if row else 0

    def cost_of(self, pairs: Iterable[str]) -> int:
        """Return the nano-dollars that all calls about *pairs*, given by hash, cost, counted as in :meth:`spent`."""
        # A pair that is given twice had its calls paid for once.
        return sum(int(self._one(_COST, (pair,))[0]) for pair in set(pairs))

    def dearest(self) -> int:
        """Return the largest reservation of an attempt so far, in nano-dollars."""
        return self._one("SELECT MAX(reserved) FROM attempts", ())[0] or 0

    def calls(self, keys: Sequence[str]) -> dict[str, Call]:
        """Return the calls with these keys, by key; unknown keys are left out."""
        found = {}
        for key in keys:
            row = self._one(
                "SELECT teacher, request, reply FROM calls LEFT JOIN attempts ON attempts.id = answer WHERE key = ?",
                (key,),
            )
            if row is None:
                continue
            attempts = self.rows("SELECT state, kind, message FROM attempts WHERE call = ? ORDER BY id", (key,))
            reply = None if row[2] is None else self._reply(row[2], key)
            found[key] = Call(key, row[0], self.request(row[1], key), reply, tuple(attempts))
        return found

    def calls_of(self, pairs: Iterable[str]) -> list[str]:
        """Return the keys of the calls about *pairs*, given by hash: pair by pair, then by reflection and index."""
        keys = []
        for pair in pairs:
            rows = self.rows("SELECT key FROM calls WHERE pair = ? ORDER BY reflection, idx", (pair,))
            keys += [row[0] for row in rows]
        return keys

    def attempt_counts(self) -> dict[tuple[str, str], int]:
        """Return the number of attempts by ``(state, kind)``; the kind is empty where there was no failure."""
        rows = self.rows("SELECT state, COALESCE(kind, ''), COUNT(*) FROM attempts GROUP BY 1, 2 ORDER BY 1, 2")
        return {(state, kind): count for state, kind, count in rows}

    def told(self) -> Told:
        """Return the statement about this ledger that the manifest keeps for later checks."""
        return next(map(Told.of, self.rows(TOLD)))

    def unknown_calls(self) -> list[str]:
        """Return the keys of the calls that a killed run may have paid for without receiving an answer."""
        rows = self.rows("SELECT call FROM attempts WHERE kind = 'interrupted_unknown' ORDER BY id")
        return [row[0] for row in rows]

    def doubtful_calls(self) -> list[str]:
        """Return the keys of unknown calls that were neither answered since nor released to be asked again."""
        sql = "SELECT DISTINCT call FROM attempts JOIN calls ON key = call WHERE state = 'unknown' AND answer IS NULL"
        return [row[0] for row in self.rows(sql)]

    async def withdraw(self, kinds: Sequence[str]) -> int:
        """Let rewrites that failed with one of *kinds* be asked again, and return their number.

        Their answers stay in the ledger, but are no longer used.

        Args:
            kinds: kinds of failure, as recorded for the samples of the last run.
        """
        found = {question for kind in kinds for question in self.rows(_FAILED, (kind,))}
        statements: list[Statement] = []
        for question in sorted(found):
            statements += [(_WITHDRAW, question), (_RELEASE, question)]
        await self.write(statements)
        return len(found)

    # --- losses -----------------------------------------------------------------------------

    def losses(self, keys: Iterable[str]) -> dict[str, SpanLoss]:
        """Return the known losses by key, without the losses of single tokens."""
        sql = "SELECT key, nll, tokens, status, reason FROM losses WHERE key IN ({marks})"
        return {row[0]: self._loss(*row) for row in self._among(sql, list(keys))}

    def token_losses(self, keys: Iterable[str]) -> dict[str, SpanLoss]:
        """Return the known losses by key, with the losses of single tokens.

        A loss of which these are not stored is left out, unless it has no value and so needs none.
        """
        sql = """
        SELECT losses.key, losses.nll, tokens, status, reason, token_losses.nll, ranks, IFNULL(cut, 0)
        FROM losses LEFT JOIN token_losses ON token_losses.key = losses.key
        WHERE losses.key IN ({marks}) AND (losses.nll IS NULL OR ranks IS NOT NULL)
        """
        return {row[0]: self._loss(*row) for row in self._among(sql, list(keys))}

    async def put_losses(self, losses: Mapping[str, SpanLoss]) -> None:
        """Commit computed losses."""
        rows = [(key, loss.nll, loss.tokens, loss.status, loss.reason) for key, loss in losses.items()]
        statements: list[Statement] = []
        for at in range(0, len(rows), _MOST_ROWS):
            some = rows[at : at + _MOST_ROWS]
            marks = ",".join(["(?, ?, ?, ?, ?)"] * len(some))
            sql = f"INSERT OR REPLACE INTO losses VALUES {marks}"  # noqa: S608 - marks only
            statements.append((sql, [one for row in some for one in row]))
        for key, loss in losses.items():
            if loss.token_nll is not None and loss.token_ranks is not None:
                row = (key, packed("f", loss.token_nll), packed("I", loss.token_ranks), loss.cut)
                statements.append(("INSERT OR REPLACE INTO token_losses VALUES (?, ?, ?, ?)", row))
        await self.write(statements)

    # --- samples ----------------------------------------------------------------------------

    async def record(self, story: Story) -> None:
        """Commit a finished sample, in place of the record by an earlier run."""
        await self.write(list(_story_rows(story)))

    async def forget_samples(self) -> None:
        """Delete the records of all samples, to start a run afresh; answers and losses stay."""
        tables = ("samples", "versions", "scores", "decisions", "failures")
        await self.write([(f"DELETE FROM {table}", ()) for table in tables])  # noqa: S608 - fixed names

    def find_sample(self, text: str) -> list[str]:
        """Return the ids of the samples that *text* names: by row number if :func:`is_row` says so, else by id.

        An exact id comes first; else all ids that begin with *text* are returned.
        """
        if is_row(text):
            return [row[0] for row in self.rows("SELECT id FROM samples WHERE row = ?", (int(text),))]
        for match in ("id = ?1", "substr(id, 1, length(?1)) = ?1"):
            rows = self.rows(f"SELECT id FROM samples WHERE {match} ORDER BY row", (text,))  # noqa: S608 - fixed
            found = [row[0] for row in rows]
            if found:
                return found
        return []

    def story(self, sample_id: str) -> Story | None:
        """Return the record of one sample, or ``None``."""
        row = self._one("SELECT row, kept, outcome, reason FROM samples WHERE id = ?", (sample_id,))
        if row is None:
            return None
        versions = self.rows(
            "SELECT name, pair, parent, reflection, call FROM versions WHERE sample = ? ORDER BY seq", (sample_id,)
        )
        decisions = self.rows(
            "SELECT stage, candidates, kept, reason FROM decisions WHERE sample = ? ORDER BY seq", (sample_id,)
        )
        failures = self.rows(
            "SELECT stage, kind, reason, call FROM failures WHERE sample = ? ORDER BY seq", (sample_id,)
        )
        sample = Sample(
            id=sample_id,
            row=row[0],
            versions=tuple(Version(v[0], self.pair(v[1], sample_id), *v[2:]) for v in versions),
            kept=row[1],
            decisions=tuple(Decision(d[0], self._candidates(d[1], sample_id), d[2], d[3]) for d in decisions),
            failures=tuple(Failure(*f) for f in failures),
            scores=self._scores(sample_id),
        )
        return Story(sample, row[2], row[3])

    def stories(self) -> Iterator[Story]:
        """Yield the record of every sample, ordered by row."""
        for row in self.rows("SELECT id FROM samples ORDER BY row"):
            story = self.story(row[0])
            if story is not None:
                yield story

    def _scores(self, sample_id: str) -> dict[str, dict[str, Score]]:
        scores: dict[str, dict[str, Score]] = {}
        sql = "SELECT version, metric, value, status, reason FROM scores WHERE sample = ? ORDER BY version, metric"
        for version, metric, *score in self.rows(sql, (sample_id,)):
            scores.setdefault(version, {})[metric] = Score(*score)
        return scores

    # --- plumbing ---------------------------------------------------------------------------

    async def write(self, statements: list[Statement]) -> list[int]:
        """Commit all *statements* or none, and return the last row id of each.

        Raises:
            DiskError: the statements could not be written.
        """
        if self._writer is None:
            raise DiskError(f"{self.path}: opened for reading only")
        if not statements:
            return []
        return await self._writer.put(statements)


def is_row(text: str) -> bool:
    """Return whether a user's *text* is a row number: only digits, and fewer than the 16 with which an id begins."""
    return text.isascii() and text.isdigit() and len(text) < _ID_DIGITS


def _json(value: Any) -> str:
    # ASCII, so that a lone surrogate in the data cannot fail the write.
    return json.dumps(value, sort_keys=True)


def intent_rows(key: str, teacher: str, request: Request, reserved: int, batch: str | None) -> Iterator[Statement]:
    """Yield the two statements that record an attempt about to be sent: its call, if new, and the attempt."""
    columns = "key, reflection, pair, idx, teacher, request"
    call = (key, request.reflection, request.pair_hash, request.index, teacher, _json(asdict(request)))
    yield f"INSERT OR IGNORE INTO calls ({columns}) VALUES (?, ?, ?, ?, ?, ?)", call  # noqa: S608 - fixed names
    sql = "INSERT INTO attempts (call, state, reserved, batch) VALUES (?, 'intent', ?, ?)"
    yield sql, (key, reserved, batch)


def _story_rows(story: Story) -> Iterator[Statement]:
    sample = story.sample
    for table in ("versions", "scores", "decisions", "failures"):
        yield f"DELETE FROM {table} WHERE sample = ?", (sample.id,)  # noqa: S608 - fixed names
    yield (
        "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?)",
        (sample.id, sample.row, sample.kept, story.outcome, story.reason),
    )
    for seq, version in enumerate(sample.versions):
        pair = _json(asdict(version.pair))
        values = (sample.id, seq, version.name, version.parent, version.reflection, version.call, pair)
        yield "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)", values
    for name, scores in sample.scores.items():
        for metric, score in scores.items():
            row = (sample.id, name, metric, score.value, score.status, score.reason)
            yield "INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?)", row
    for seq, decision in enumerate(sample.decisions):
        choice = (sample.id, seq, decision.stage, _json(decision.candidates), decision.kept, decision.reason)
        yield "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)", choice
    for seq, failure in enumerate(sample.failures):
        fault = (sample.id, seq, failure.stage, failure.kind, failure.reason, failure.call)
        yield "INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)", fault
