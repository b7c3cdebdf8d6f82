"""Near-duplicates: texts that share most of their words in the same order. MinHash, by datasketch."""

from __future__ import annotations

import re
from typing import Any

PERMUTATIONS = 128
"""Hashes of a sketch. The estimate of a similarity s has a standard error of √(s (1 − s) / 128): 0.035 at 0.8."""

THRESHOLD = 0.8
"""Estimated similarity from which on two texts are near-duplicates."""

WORDS = 3
"""Words that stand together in one piece of a text."""

_BANDS = (10, 7)
"""10 bands of 7 hashes: texts of similarity s are compared with probability 1 − (1 − s⁷)¹⁰, which is 0.91 at 0.8 and
0.999 at 0.9. More bands would find more, and each takes half a kilobyte a text."""

# Scripts without blanks between words are taken letter by letter.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|\w+")


def pieces(text: str) -> list[bytes]:
    """Every three words that stand together, each once; all of a shorter text. Case and punctuation are left out."""
    words = _WORD.findall(text.casefold())
    found = {" ".join(words[at : at + WORDS]) for at in range(max(len(words) - WORDS + 1, 1))}
    return [piece.encode("utf-8", "surrogatepass") for piece in found]


class Sketcher:
    """Makes sketches of texts: what is left of a text when only its similarity to others is of interest."""

    def __init__(self) -> None:
        from datasketch import MinHash

        self._empty = MinHash(num_perm=PERMUTATIONS)

    def __call__(self, text: str) -> Any:
        """The MinHash of a text's :func:`pieces` (Broder 1997), half a kilobyte whatever its length."""
        made = self._empty.copy()
        made.update_batch(pieces(text))
        return made


class Neighbours:
    """Texts without their near-duplicates: the similarity is Jaccard's, |P ∩ Q| / |P ∪ Q| of two texts' pieces.

    About five kilobytes a text, and time that grows with their number alone: bands of a sketch that are equal say
    which texts to compare (locality-sensitive hashing, Indyk and Motwani 1998), and only the first of several
    near-duplicates is kept.
    """

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._bands = MinHashLSH(num_perm=PERMUTATIONS, params=_BANDS)
        self._kept: list[Any] = []

    def has(self, sketch: Any) -> bool:
        """Whether a text that was added is a near-duplicate of this one."""
        return any(self._kept[at].jaccard(sketch) >= THRESHOLD for at in self._bands.query(sketch))

    def add(self, sketch: Any) -> bool:
        """Take a text, unless a near-duplicate is there already; whether one is."""
        known = self.has(sketch)
        if not known:
            self._bands.insert(len(self._kept), sketch, check_duplication=False)
            self._kept.append(sketch)
        return known
