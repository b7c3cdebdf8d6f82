"""Prompts of other data sets, known by hashes, so that training data can be searched for them.

The rule is that of GPT-3 (Brown et al. 2020, appendix C): two texts overlap if they share 13 consecutive words. A
prompt of fewer words has none of these, so it must be equal as a whole.
"""

from __future__ import annotations

import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from attrs import frozen

from rt_framework import Pair
from rt_framework.kit.words import words

WORDS = 13
"""Number of consecutive words that two longer prompts share."""


@frozen
class Match:
    """A place where a prompt was found."""

    name: str
    """Name of the data set, such as the path of its file."""
    row: int
    """Row number in it, from 0."""
    words: str
    """The words in common, in lower case and without punctuation: 13 of a longer prompt, or all of a shorter one."""


class PromptIndex:
    """The prompts of some data sets. It keeps twelve bytes for each 13 consecutive words, and no text.

    A prompt is the text of a user's turn: the instruction with its input, and each earlier turn of a conversation.
    Case, punctuation, white space and the Unicode form of a letter are ignored. Chinese and Japanese are taken
    character by character.

    Args:
        data: name and pairs of each data set; the pairs are read once, in order.
    """

    def __init__(self, data: Iterable[tuple[str, Iterable[Pair]]]) -> None:
        import numpy as np

        self._names: list[str] = []
        self._ends: list[int] = []
        hashes, rows = array("Q"), array("I")
        count = 0
        for name, pairs in data:
            for pair in pairs:
                for piece in _pieces(pair):
                    hashes.append(_hash(piece))
                    rows.append(count)
                count += 1
            self._names.append(name)
            self._ends.append(count)
        # Of several rows with the same words the first is kept, which np.unique points to.
        self._hashes, first = np.unique(np.array(hashes, np.uint64), return_index=True)
        self._rows = np.array(rows, np.uint32)[first]

    def __len__(self) -> int:
        """Number of rows in all data sets."""
        return self._ends[-1] if self._ends else 0

    def find(self, pair: Pair) -> Match | None:
        """Return where a prompt of *pair* also stands; ``None`` if it stands nowhere."""
        import numpy as np

        pieces = list(_pieces(pair))
        if not pieces or not len(self._hashes):
            return None
        wanted = np.array([_hash(piece) for piece in pieces], np.uint64)
        places = np.minimum(np.searchsorted(self._hashes, wanted), len(self._hashes) - 1)
        equal = np.flatnonzero(self._hashes[places] == wanted)
        return self._match(int(self._rows[places[equal[0]]]), pieces[equal[0]]) if len(equal) else None

    def _match(self, row: int, words: str) -> Match:
        number = bisect_right(self._ends, row)
        return Match(self._names[number], row - (self._ends[number - 1] if number else 0), words)


def _pieces(pair: Pair) -> Iterator[str]:
    """Yield the texts of a pair that are looked for: 13 words at a time, or all words of a shorter prompt."""
    earlier = (turn.content for turn in pair.history if turn.role == "user")
    for prompt in (*earlier, pair.user_turn):
        own = words(unicodedata.normalize("NFKC", prompt))
        for first in range(max(len(own) - WORDS + 1, 1)) if own else ():
            yield " ".join(own[first : first + WORDS])


def _hash(piece: str) -> int:
    return int.from_bytes(blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest())
