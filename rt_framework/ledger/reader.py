"""Reading a ledger: one place that everything read comes through, so that damage is told as damage, by one error."""

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
"""Keys of one query: SQLite takes 999 values in every build."""


class Reader:
    """A connection that only looks, and makes values of what it finds.

    Raises:
        DataError: it is no ledger of this version.
        DiskError: it is damaged. So does every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sound = True
        """Whether nothing wrong was found in it so far."""
        try:
            self._db = reading(path)
            version = version_of(self._db)
        except sqlite3.Error as error:
            raise fault(path, error) from error
        if version != VERSION:
            way = "use the release that wrote it" if version > VERSION else "'rt run' brings it up to date"
            raise DataError(f"{path}: a ledger of version {version}, not {VERSION}; {way}")

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """What a query finds, one row at a time. End it soon: until then the file of the log cannot shrink."""
        # Damage shows where a row is taken, too.
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.ProgrammingError:  # a fault of ours, none of the file
            raise
        except sqlite3.Error as error:
            self.sound = False
            raise fault(self.path, error) from error

    def request(self, text: Any, key: str) -> Request:
        """What a call asked, from its column."""
        return self._parsed(text, Request, "question", key)

    def pair(self, text: Any, sample_id: str) -> Pair:
        """A version of a sample, from its column."""
        return self._parsed(text, Pair, "sample", sample_id)

    def look_through(self) -> None:
        """Read the whole file."""
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
        """What a query finds of so many keys, in as many queries as it takes."""
        for at in range(0, len(keys), _MOST_KEYS):
            some = keys[at : at + _MOST_KEYS]
            yield from self.rows(sql.format(marks=",".join("?" * len(some))), some)

    def _parsed(self, text: Any, cls: type[T], what: str, key: str) -> T:
        """A JSON value as an object; *what* it is and its key are told when it is none."""
        try:
            value = json.loads(text)
            return value if cls is object else cattrs.structure(value, cls)
        except Exception as error:  # as many kinds as there are ways to be wrong
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
