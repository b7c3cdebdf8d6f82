"""Ledgers as earlier layouts have them, made of present ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rt_framework.ledger.schema import STEPS
from tests.helpers import with_questions

RECORDS = ("versions", "scores", "decisions", "failures")


def make_older(path: Path, version: int) -> None:
    """Make a closed ledger one of an older version, as the steps up to it lay it out."""
    now = path.rename(path.with_suffix(".now"))
    with closing(with_questions(sqlite3.connect(path, isolation_level=None))) as db:
        for step in STEPS[:version]:
            db.executescript(step)
        db.execute("ATTACH ? AS now", (str(now),))
        for (table,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            both = [{row[1] for row in db.execute(f"PRAGMA {place}.table_info({table})")} for place in ("main", "now")]
            names = ", ".join(sorted(set.intersection(*both)))
            db.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM now.{table}")
        if version < 10:  # attempts named their calls by key
            db.execute("UPDATE main.attempts SET call = (SELECT key FROM now.calls WHERE number = call)")
        if version < 9:  # records bore ids
            for table in RECORDS:
                db.execute(f"UPDATE main.{table} SET sample = (SELECT id FROM now.samples WHERE number = sample)")
        if version < 8:  # questions were whole
            whole = "SELECT question(request, pattern) FROM now.calls call WHERE call.key = calls.key"
            db.execute(f"UPDATE main.calls SET request = ({whole})")
        if version < 2:  # answers were beside the questions
            answer = "SELECT reply FROM now.attempts JOIN now.calls call ON id = answer WHERE call.key = calls.key"
            db.execute(f"UPDATE main.calls SET reply = ({answer})")
        db.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(version),))
    now.unlink()
    path.with_name(f"{path.name}-seal").unlink()
