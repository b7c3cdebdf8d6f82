"""Keys that a ledger may have, so that a key which is surely new costs no look-up in the file.

Keys are hashes, so each look-up reads another page of the file, and in a new run nearly every key is new: the larger
the ledger, the longer it took to learn that it does not hold a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from mmap import mmap

_PLACES = (1 << 27) - 1
"""Highest number of a bit. The bits take 16 MiB."""


class KnownKeys:
    """A Bloom filter: of a key that was added it always says that it may be there, of another one it seldom does.

    With a million keys it is wrong about one new key in a hundred; those are looked up, as all were without it.
    """

    def __init__(self) -> None:
        self._bits = mmap(-1, _PLACES + 1 >> 3)  # unlike an array, it takes no memory where nothing was written

    def add(self, keys: Iterable[str]) -> None:
        """Add keys."""
        bits = self._bits
        for key in keys:
            place = hash(key) & _PLACES
            bits[place >> 3] |= 1 << (place & 7)

    def among(self, keys: Iterable[str]) -> list[str]:
        """Return those of *keys* that may have been added."""
        bits = self._bits
        places = ((key, hash(key) & _PLACES) for key in keys)
        return [key for key, place in places if bits[place >> 3] >> (place & 7) & 1]
