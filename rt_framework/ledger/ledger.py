"""The run's memory: one SQLite file that holds every paid answer and every computed loss.

To resume is to run again: whatever is found here is not asked for twice. One thread owns the only
writable connection and commits what has gathered; an ``await`` on a write returns after its commit.
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
"""Hexadecimal digits of a sample's contents, with which its id begins."""

_MOST_ROWS = 150
"""Losses of one statement."""


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
    """All that is known of one finished sample."""

    sample: Sample
    outcome: str
    """``rewritten``, ``original``, ``dropped`` or ``failed``; ``waiting`` before a stage over the data set."""
    reason: str | None


@frozen
class Call:
    """One question to the teacher, with every attempt at it."""

    key: str
    teacher: str
    request: Request
    reply: Reply | None
    attempts: tuple[tuple[str, str | None, str | None], ...]
    """State, kind and message of each attempt, oldest first."""


class Ledger(Reader):
    """Reads at once, writes through one thread.

    Args:
        path: the file; created, or brought up to date, unless *readonly*.
        readonly: only look; never creates or changes anything.
        beside: files that have to stay where they are while it is written to.

    Raises:
        DataError: the file is missing, or no ledger of this version.
        DiskError: it cannot be written, or is damaged. So does every method that reads.
    """

    def __init__(self, path: Path, readonly: bool = False, beside: Iterable[Path] = ()) -> None:
        if readonly and not path.is_file():
            raise DataError(f"{path}: no ledger here; is this a run directory?")
        self._writer = None if readonly else open_writer(path, beside)
        super().__init__(path)

    def flush(self, seconds: float) -> None:
        """Commit what is waiting, in so much time at most. May be called from a signal handler."""
        if self._writer is not None:
            self._writer.flush(seconds)

    def close(self) -> None:
        """Commit what is waiting and close the file."""
        # First of the two: who reads keeps the log from being written back.
        self._db.close()
        if self._writer is not None:
            self._writer.close(self.sound)

    def check(self) -> None:
        """Look through the whole file, before it is trusted with the outputs.

        Raises:
            DiskError: it is damaged, or is not where it was.
        """
        if self._writer is not None:
            self._writer.check_held()
        self.look_through()

    # --- meta -------------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """A value noted about the whole run, or ``None``."""
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else self._parsed(row[0], object, "meta", key)

    async def set_meta(self, key: str, value: Any) -> None:
        """Note a JSON value about the whole run."""
        await self.write([("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _json(value)))])

    # --- calls ------------------------------------------------------------------------------

    def reply(self, key: str) -> Reply | None:
        """The committed answer of a call."""
        row = self._one("SELECT reply FROM calls JOIN attempts ON attempts.id = answer WHERE key = ?", (key,))
        return None if row is None else self._reply(row[0], key)

    async def intend(self, key: str, teacher: str, request: Request, reserved: int) -> int:
        """Commit that an attempt is about to be sent; returns its number.

        Args:
            reserved: most it can cost, in nano-dollars.
        """
        return (await self.write(list(intent_rows(key, teacher, request, reserved, None))))[-1]

    async def answered(self, attempt: int, key: str, reply: Reply) -> None:
        """Commit a raw answer. After this it is never asked for again."""
        done = "UPDATE attempts SET state = 'answered', kind = NULL, message = ?, cost = ?, reply = ? WHERE id = ?"
        await self.write(
            [
                (done, (reply.note or None, reply.nano_dollars, _json(asdict(reply)), attempt)),
                ("UPDATE calls SET answer = ? WHERE key = ?", (attempt, key)),
            ]
        )

    async def attempt_failed(self, attempt: int, error: TeacherError, cost: int) -> None:
        """Commit that an attempt gave no answer, or none that can be read, whose body is then kept.

        Args:
            attempt: its number.
            error: how it ended.
            cost: what is charged to the budget, in nano-dollars: all that was reserved where it may be billed.
        """
        sql = "UPDATE attempts SET state = 'failed', kind = ?, message = ?, cost = ?, raw = ? WHERE id = ?"
        await self.write([(sql, (error.kind.name, error.message, cost, error.raw, attempt))])

    async def settle_interrupted(self) -> int:
        """Mark attempts that a killed run left open as unknown, charged in full; returns how many.

        Those of a batch are not in doubt: the provider can be asked for them.
        """
        left = "state = 'intent' AND batch IS NULL"
        count = self._one(f"SELECT COUNT(*) FROM attempts WHERE {left}", ())  # noqa: S608 - fixed text
        change = "state = 'unknown', kind = 'interrupted_unknown', cost = reserved"
        await self.write([(f"UPDATE attempts SET {change} WHERE {left}", ())])  # noqa: S608 - fixed text
        return int(count[0]) if count else 0

    def spent(self) -> int:
        """Nano-dollars paid, perhaps paid, or reserved."""
        row = self._one("SELECT TOTAL(CASE state WHEN 'intent' THEN reserved ELSE cost END) FROM attempts", ())
        return int(row[0]) if row else 0

    def cost_of(self, pairs: Iterable[str]) -> int:
        """Nano-dollars that all calls about these pairs cost, by hash, as :meth:`spent` counts."""
        return sum(int(self._one(_COST, (pair,))[0]) for pair in set(pairs))

    def dearest(self) -> int:
        """The largest reservation of an attempt so far, in nano-dollars."""
        return self._one("SELECT MAX(reserved) FROM attempts", ())[0] or 0

    def calls(self, keys: Sequence[str]) -> dict[str, Call]:
        """Calls by key; unknown keys are left out."""
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
        """Keys of the calls that asked about these pairs, by hash, in the order asked."""
        keys = []
        for pair in pairs:
            rows = self.rows("SELECT key FROM calls WHERE pair = ? ORDER BY reflection, idx", (pair,))
            keys += [row[0] for row in rows]
        return keys

    def attempt_counts(self) -> dict[tuple[str, str], int]:
        """How many attempts ended how: ``(state, kind)`` to count."""
        rows = self.rows("SELECT state, COALESCE(kind, ''), COUNT(*) FROM attempts GROUP BY 1, 2 ORDER BY 1, 2")
        return {(state, kind): count for state, kind, count in rows}

    def told(self) -> Told:
        """What the ledger must still hold when it is opened next."""
        return next(map(Told.of, self.rows(TOLD)))

    def unknown_calls(self) -> list[str]:
        """Keys of the calls that a killed run may have paid for without an answer."""
        rows = self.rows("SELECT call FROM attempts WHERE kind = 'interrupted_unknown' ORDER BY id")
        return [row[0] for row in rows]

    def doubtful_calls(self) -> list[str]:
        """Those of the unknown calls that have not been answered since, nor been released to be asked again."""
        sql = "SELECT DISTINCT call FROM attempts JOIN calls ON key = call WHERE state = 'unknown' AND answer IS NULL"
        return [row[0] for row in self.rows(sql)]

    async def withdraw(self, kinds: Sequence[str]) -> int:
        """Let what failed so be asked again; returns how many rewrites. Answers stay, but are used no more.

        Args:
            kinds: kinds of failure, as the account of the last run has them.
        """
        found = {question for kind in kinds for question in self.rows(_FAILED, (kind,))}
        statements: list[Statement] = []
        for question in sorted(found):
            statements += [(_WITHDRAW, question), (_RELEASE, question)]
        await self.write(statements)
        return len(found)

    # --- losses -----------------------------------------------------------------------------

    def losses(self, keys: Iterable[str]) -> dict[str, SpanLoss]:
        """Known losses, by key, without those of single tokens."""
        sql = "SELECT key, nll, tokens, status, reason FROM losses WHERE key IN ({marks})"
        return {row[0]: self._loss(*row) for row in self._among(sql, list(keys))}

    def token_losses(self, keys: Iterable[str]) -> dict[str, SpanLoss]:
        """Known losses with those of single tokens, by key; what has no number needs none."""
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
        """Commit a finished sample, in place of what an earlier run said of it."""
        await self.write(list(_story_rows(story)))

    async def forget_samples(self) -> None:
        """Start the account of a run afresh; answers and losses stay."""
        tables = ("samples", "versions", "scores", "decisions", "failures")
        await self.write([(f"DELETE FROM {table}", ()) for table in tables])  # noqa: S608 - fixed names

    def find_sample(self, text: str) -> list[str]:
        """The samples that *text* names: by row number if :func:`is_row` says so, else by an id or its beginning."""
        if is_row(text):
            return [row[0] for row in self.rows("SELECT id FROM samples WHERE row = ?", (int(text),))]
        for match in ("id = ?1", "substr(id, 1, length(?1)) = ?1"):
            rows = self.rows(f"SELECT id FROM samples WHERE {match} ORDER BY row", (text,))  # noqa: S608 - fixed
            found = [row[0] for row in rows]
            if found:
                return found
        return []

    def story(self, sample_id: str) -> Story | None:
        """What is known of one sample."""
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
        """Every finished sample, by row."""
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
        """Commit statements, all or none; returns the last row id of each.

        Raises:
            DiskError: they could not be written.
        """
        if self._writer is None:
            raise DiskError(f"{self.path}: opened for reading only")
        if not statements:
            return []
        return await self._writer.put(statements)


def is_row(text: str) -> bool:
    """Whether what a user typed is the number of a row: digits only, and fewer than the 16 that an id begins with."""
    return text.isascii() and text.isdigit() and len(text) < _ID_DIGITS


def _json(value: Any) -> str:
    # ASCII, so that a lone surrogate in the data cannot fail the write.
    return json.dumps(value, sort_keys=True)


def intent_rows(key: str, teacher: str, request: Request, reserved: int, batch: str | None) -> Iterator[Statement]:
    """Statements, two, for an attempt that is about to be sent."""
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
