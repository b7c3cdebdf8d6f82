"""Questions in a short form: what one shares with an earlier question of its kind is not stored again.

Questions of one reflection differ in the sample alone: system prompt, schema and rules are the same in each. So the
first one is kept as a pattern, and each question as its difference from it, packed by zlib with the pattern as preset
dictionary.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen

from rt_framework.ledger.database import Database
from rt_framework.ledger.statements import Statement
from rt_framework.model import Request

_MOST = 1 << 15
"""Most bytes of a pattern, since zlib looks no further back."""

_LONGEST = 1 << 28
"""Most bytes of a question, so that a ledger of a stranger cannot fill the memory with a few bytes."""

_DIGITS = 16


@frozen
class Packed:
    """A question as the ledger keeps it."""

    pattern: str
    """Key of its pattern."""
    text: Callable[[], bytes]
    """A function that returns its JSON text, packed."""


def pattern_key(pattern: bytes) -> str:
    """Return the key of a pattern, by which a damaged one is noticed."""
    return hashlib.sha256(pattern).hexdigest()[:_DIGITS]


def packed(text: bytes, pattern: bytes) -> bytes:
    """Return a text as its difference from a pattern."""
    # A window no larger than needed: setting up the largest one takes longer than packing.
    bits = min(15, max(9, (len(pattern) + len(text)).bit_length()))
    packing = zlib.compressobj(wbits=bits, zdict=pattern)
    return packing.compress(text) + packing.flush()


def unpacked(text: bytes, pattern: bytes) -> str:
    """Return the JSON text of a packed question.

    Raises:
        zlib.error: it is damaged, or packed by another pattern.
        ValueError: as before, where the damage is in the text.
    """
    unpacking = zlib.decompressobj(zdict=pattern)
    found = unpacking.decompress(text, _LONGEST)
    if not unpacking.eof:
        raise ValueError("cut off, or longer than any question")
    return found.decode("utf-8", "surrogatepass")


class Patterns:
    """The patterns in one ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._by_key: dict[str, bytes] = {}
        self._of_reflection: dict[str, str] = {}

    async def pack(self, request: Request) -> Packed:
        """Return a question in its short form; the first one of a reflection is committed as the pattern.

        Raises:
            DiskError: the pattern cannot be written.
        """
        asked = request.canonical.encode("utf-8", "surrogatepass")  # some user data contains lone surrogates
        key = self._of_reflection.get(request.reflection) or await self._pattern(request.reflection, asked)
        return Packed(key, partial(packed, asked, self._by_key[key]))

    def request(self, text: Any, pattern: str | None, call: str) -> Request:
        """Return a question.

        Args:
            text: the question as the ledger holds it.
            pattern: key of its pattern; ``None`` for a question that an older release has stored as it is.
            call: key of its call, for messages.

        Raises:
            DiskError: the ledger is damaged.
        """
        if pattern is not None:
            try:
                if pattern not in self._by_key:
                    self._by_key[pattern] = self._db.first("SELECT text FROM patterns WHERE key = ?", (pattern,))[0]
                text = unpacked(text, self._by_key[pattern])
            except (zlib.error, TypeError, ValueError) as error:  # the pattern or the question is damaged
                raise self._db.unreadable("question", call) from error
        return self._db.parsed(text, Request, "question", call)

    async def _pattern(self, reflection: str, asked: bytes) -> str:
        """Return the key of the pattern of a reflection; if there is none, the question itself becomes it."""
        sql = "SELECT key, text FROM patterns WHERE reflection = ? ORDER BY key LIMIT 1"
        known = self._db.first(sql, (reflection,))
        pattern = asked[-_MOST:] if known is None else known[1]
        key = pattern_key(pattern) if known is None else known[0]
        # Noted before the write, so that the questions which come meanwhile use it too: theirs are written after it.
        self._by_key[key], self._of_reflection[reflection] = pattern, key
        if known is None:
            # A write of its own: if one that needs it fails for its values, this one stands.
            made = Statement("INSERT OR IGNORE INTO patterns VALUES (?, ?, ?)", (key, reflection, pattern))
            await self._db.write([made])
        return str(key)
