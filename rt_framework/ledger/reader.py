"""The reading side of a ledger, through which every value passes, so that damage always raises the same error."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from rt_framework.errors import DataError, DiskError
from rt_framework.kit.compact import unpacked
from rt_framework.ledger.damage import damaged, fault, look_through, reading
from rt_framework.ledger.schema import VERSION, version_of
from rt_framework.model import Pair, Reply, Request
from rt_framework.spans import SpanLoss

T = TypeVar("T")

_MOST_KEYS = 500
"""Most keys in one query: every build of SQLite accepts 999 values."""


class Reader:
    """A read-only connection to a ledger that converts its rows to objects.

    Raises:
        DataError: the file is not a ledger of this version.
        DiskError: the file is damaged. Every method raises this too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sound = True
        """True if no damage was found in the file so far."""
        try:
            self._db = reading(path)
            version = version_of(self._db)
        except sqlite3.Error as error:
            raise fault(path, error) from error
        if version != VERSION:
            way = "use the release that wrote it" if version > VERSION else "'rt run' brings it up to date"
            raise DataError(f"{path}: a ledger of version {version}, not {VERSION}; {way}")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a query. Exhaust or close the iterator soon: until then SQLite's log cannot shrink."""
        # SQLite may find damage at any row, so the loop is inside the try block too.
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.ProgrammingError:  # a bug in this program, not damage of the file
            raise
        except sqlite3.Error as error:
            self.sound = False
            raise fault(self.path, error) from error

    def request(self, text: Any, key: str) -> Request:
        """Return the request of the call with this *key*, parsed from its column *text*."""
        return self._parsed(text, Request, "question", key)

    def pair(self, text: Any, sample_id: str) -> Pair:
        """Return the pair of a version of a sample, parsed from its column *text*."""
        return self._parsed(text, Pair, "sample", sample_id)

    def look_through(self) -> None:
        """Check the whole file for damage."""
        try:
            found = look_through(self._db)
        except sqlite3.Error as error:
            self.sound = False
            raise fault(self.path, error) from error
        if found is not None:
            raise self._damaged(found)

    def _one(self, sql: str, values: Sequence[Any]) -> Any:
        return next(self.rows(sql, values), None)

    def _among(self, sql: str, keys: Sequence[str]) -> Iterator[Any]:
        """Yield the rows of a query for any number of keys, split into as many queries as needed."""
        for at in range(0, len(keys), _MOST_KEYS):
            some = keys[at : at + _MOST_KEYS]
            yield from self.rows(sql.format(marks=",".join("?" * len(some))), some)

    def _parsed(self, text: Any, cls: type[T], what: str, key: str) -> T:
        """Return a JSON text as an object of *cls*; the error for an invalid text names *what* it is and its *key*."""
        try:
            value = json.loads(text)
            return value if cls is object else cattrs.structure(value, cls)
        except Exception as error:  # a damaged text may raise any kind of error
            raise self._unreadable(what, key) from error

    def _reply(self, text: Any, key: str) -> Reply:
        return self._parsed(text, Reply, "answer", key)

    def _candidates(self, text: Any, sample_id: str) -> tuple[str, ...]:
        return self._parsed(text, tuple[str, ...], "sample", sample_id)

    def _loss(self, key: str, nll: Any, tokens: Any, status: Any, reason: Any, *by_token: Any) -> SpanLoss:
        try:
            if not (nll is None or isinstance(nll, float)) or type(tokens) is not int or not isinstance(status, str):
                raise ValueError(status)
            losses: Any = (*map(unpacked, "fI", by_token[:2]), *by_token[2:])
            return SpanLoss(nll, tokens, status, reason, *losses)
        except (TypeError, ValueError) as error:
            raise self._unreadable("loss", key) from error

    def _unreadable(self, what: str, key: str) -> DiskError:
        return self._damaged(f"{what} {key} cannot be read")

    def _damaged(self, what: str) -> DiskError:
        self.sound = False
        return damaged(self.path, what)
