"""The results of a batch by key, taken from lines any of which may be damaged, repeated, or of another batch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from rt_framework.errors import TeacherError


@frozen
class Line:
    """The provider's answer to one request of a batch, in the form of an answer to a live call."""

    status: int
    """HTTP status of the answer."""
    body: bytes


End = Line | TeacherError
Ends = dict[str, End]


class Results:
    """The results of the wanted requests. An answer replaces an error, and the first answer is kept.

    Args:
        keys: keys of the requests.
        field: name under which a line holds its id.
        end: returns the result in a line, a JSON object; ``None`` where the line has neither an answer nor an error.
        key: returns the key in an id.
    """

    def __init__(
        self,
        keys: Iterable[str],
        field: str,
        end: Callable[[Mapping[str, Any]], End | None],
        key: Callable[[str], str] = str,
    ) -> None:
        self._keys = frozenset(keys)
        self._field = field
        self._end = end
        self._key = key
        self._ends: Ends = {}

    def take(self, text: bytes) -> None:
        """Store the result in one line."""
        result = self._result(text)
        if result is None or result[0] not in self._keys:
            return
        key, end = result
        if not _answers(end):
            self._ends.setdefault(key, end)
        elif not _answers(self._ends.get(key)):
            self._ends[key] = end

    def all(self, unread: TeacherError) -> Ends:
        """Return the result of every key; *unread* is that of a request without a line."""
        return {key: self._ends.get(key, unread) for key in self._keys}

    def _result(self, text: bytes) -> tuple[str, End] | None:
        try:
            line = json.loads(text)
            name = line[self._field]
            end = self._end(line)
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as problem:
            name = id_in(text, self._field)
            why = f"the line of this question in the file of answers cannot be read: {type(problem).__name__}"
            end = TeacherError("paid_unreadable", why, raw=text)
        if not isinstance(name, str):
            return None
        if end is None:
            why = "the line of this question in the file of answers has neither an answer nor an error"
            end = TeacherError("paid_unreadable", why, raw=text)
        return self._key(name), end


def id_in(text: bytes, field: str) -> str | None:
    """Return the id in a line that may not be JSON; ``None`` if the line names none."""
    named = re.search(rb'"%s"\s*:\s*"([^"\\]{1,64})"' % field.encode(), text)
    return None if named is None else named[1].decode("utf-8", "replace")


def _answers(end: End | None) -> bool:
    return isinstance(end, Line) and end.status < 400
