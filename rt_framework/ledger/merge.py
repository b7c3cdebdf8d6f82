"""The merge of several ledgers into one."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rt_framework.errors import DiskError
from rt_framework.ledger.damage import UNREADABLE, damaged, is_corrupt
from rt_framework.ledger.schema import lay_out, prepare

_COPIES = (
    "INSERT OR IGNORE INTO patterns SELECT * FROM shard.patterns",
    "INSERT OR IGNORE INTO batches SELECT * FROM shard.batches",
    "INSERT INTO losses (key, nll, tokens, status, reason) SELECT key, nll, tokens, status, reason FROM shard.losses",
    "INSERT OR IGNORE INTO token_losses SELECT * FROM shard.token_losses",
    "INSERT OR IGNORE INTO vectors SELECT * FROM shard.vectors",
    # A question that two shards asked was paid for twice: both answers are kept, and the first shard's is used.
    """
    INSERT INTO calls (key, reflection, pair, idx, draw, step, teacher, pattern, request, answer)
    SELECT key, reflection, pair, idx, draw, step, teacher, pattern, request, answer + :before
    FROM shard.calls WHERE true ORDER BY number
    ON CONFLICT (key) DO UPDATE SET answer = COALESCE(calls.answer, excluded.answer)
    """,
    """
    INSERT INTO attempts (id, call, state, kind, message, reserved, cost, reply, batch, raw)
    SELECT id + :before, here.number, state, kind, message, reserved, cost, reply, batch, raw FROM shard.attempts
    LEFT JOIN shard.calls ON calls.number = attempts.call LEFT JOIN main.calls here ON here.key = calls.key
    """,
    "INSERT INTO samples SELECT number + :numbers, id, row, kept, outcome, reason FROM shard.samples",
    """
    INSERT INTO versions
    SELECT sample + :numbers, seq, name, parent, reflection, call, pair FROM shard.versions
    """,
    "INSERT INTO scores SELECT sample + :numbers, version, metric, value, status, reason FROM shard.scores",
    "INSERT INTO decisions SELECT sample + :numbers, seq, stage, candidates, kept, reason FROM shard.decisions",
    "INSERT INTO failures SELECT sample + :numbers, seq, stage, kind, reason, call FROM shard.failures",
    "INSERT OR IGNORE INTO handovers SELECT * FROM shard.handovers",
)


def join_ledgers(file: Path, ledgers: Iterable[Path], notes: Mapping[str, Any]) -> None:
    """Write everything that *ledgers* hold into the new ledger *file*, which is synced to disk when this returns.

    Args:
        file: the ledger to make.
        ledgers: ledgers of the shards, in order. No sample is in two of them.
        notes: values noted about the whole run in the new ledger, by name.

    Raises:
        DiskError: one of them is damaged, or *file* cannot be written.
    """
    try:
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            lay_out(db)
            db.execute("CREATE UNIQUE INDEX by_key ON calls (key)")  # for questions that two shards asked
            for ledger in ledgers:
                _copy(db, ledger)
            db.execute("DROP INDEX by_key")
            prepare(db)
            for key, value in notes.items():
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except UNREADABLE as error:
        raise DiskError(f"{file}: cannot be written: {error}") from error
    with file.open("rb") as whole:
        os.fsync(whole.fileno())


def _copy(db: sqlite3.Connection, ledger: Path) -> None:
    """Copy everything that one ledger holds, in one transaction; attempts and samples get new numbers."""
    try:
        db.execute("ATTACH ? AS shard", (str(ledger),))
        db.execute("BEGIN IMMEDIATE")
        # They are numbered from 1 in every shard, so their numbers are shifted past those that are there.
        (before,) = db.execute("SELECT COALESCE(MAX(id), 0) FROM attempts").fetchone()
        (numbers,) = db.execute("SELECT COALESCE(MAX(number), 0) FROM samples").fetchone()
        for statement in _COPIES:
            db.execute(statement, {"before": before, "numbers": numbers})
        db.execute("COMMIT")
        db.execute("DETACH shard")
    except UNREADABLE as error:
        if is_corrupt(error):
            raise damaged(ledger, str(error)) from error
        raise
