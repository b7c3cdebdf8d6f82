"""Keys that a ledger may have, so that a key which is surely new costs no look-up in the file.

Keys are hashes, so each look-up reads another page of the file, and in a new run nearly every key is new: the larger
the ledger, the longer it took to learn that it does not hold a key.
"""

from __future__ import annotations

from collections.abc import Iterable

_BITS = 27
"""Two to the power of this is the number of bits: 16 MiB, of which only what is used is taken from the machine."""


class KnownKeys:
    """A Bloom filter: of a key that was added it always says that it may be there, of another one it seldom does.

    With ten million keys it is wrong about two new keys in a hundred; those are looked up, as they were without it.
    """

    def __init__(self) -> None:
        self._bits = bytearray(1 << _BITS - 3)
        self._mask = (1 << _BITS) - 1

    def add(self, keys: Iterable[str]) -> None:
        """Add keys."""
        bits, mask = self._bits, self._mask
        for key in keys:
            number = hash(key)
            for place in (number & mask, number >> 32 & mask):
                bits[place >> 3] |= 1 << (place & 7)

    def among(self, keys: Iterable[str]) -> list[str]:
        """Return those of *keys* that may have been added."""
        bits, mask = self._bits, self._mask
        found = []
        for key in keys:
            number = hash(key)
            low, high = number & mask, number >> 32 & mask
            if bits[low >> 3] >> (low & 7) & 1 and bits[high >> 3] >> (high & 7) & 1:
                found.append(key)
        return found
