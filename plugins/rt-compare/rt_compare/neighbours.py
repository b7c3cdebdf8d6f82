"""Near-duplicates: texts that share most of their words in the same order, found by datasketch's MinHash."""

from __future__ import annotations

from typing import Any

from rt_framework.kit.words import words

PERMUTATIONS = 128
"""Hashes in one sketch. The estimate of a similarity s has a standard error of √(s (1 − s) / 128): 0.035 at 0.8."""

THRESHOLD = 0.8
"""Least estimated similarity at which two texts are near-duplicates."""

WORDS = 3
"""Number of consecutive words in one piece of a text."""

_BANDS = (10, 7)
"""10 bands of 7 hashes: texts of similarity s are compared with probability 1 − (1 − s⁷)¹⁰, which is 0.91 at 0.8 and
0.999 at 0.9. More bands would find more, but each takes half a kilobyte a text."""


def pieces(text: str) -> list[bytes]:
    """Return every three consecutive words, each once; all of a shorter text. Case and punctuation are ignored."""
    own = words(text)
    found = {" ".join(own[at : at + WORDS]) for at in range(max(len(own) - WORDS + 1, 1))}
    return [piece.encode("utf-8", "surrogatepass") for piece in found]


class Sketcher:
    """Maker of sketches: short digests that keep what is needed to estimate the similarity of two texts."""

    def __init__(self) -> None:
        from datasketch import MinHash

        self._empty = MinHash(num_perm=PERMUTATIONS)

    def __call__(self, text: str) -> Any:
        """Return the MinHash of a text's :func:`pieces` (Broder 1997), half a kilobyte whatever the text's length."""
        made = self._empty.copy()
        made.update_batch(pieces(text))
        return made


class Neighbours:
    """Texts without their near-duplicates, by the Jaccard similarity |P ∩ Q| / |P ∪ Q| of two texts' pieces.

    A text takes about five kilobytes, and time grows with the number of texts alone: only texts that have an equal
    band in their sketches are compared (locality-sensitive hashing, Indyk and Motwani 1998), and only the first of
    several near-duplicates is kept.
    """

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._bands = MinHashLSH(num_perm=PERMUTATIONS, params=_BANDS)
        self._kept: list[Any] = []

    def has(self, sketch: Any) -> bool:
        """Return whether a text that was added is a near-duplicate of this one."""
        return any(self._kept[at].jaccard(sketch) >= THRESHOLD for at in self._bands.query(sketch))

    def add(self, sketch: Any) -> bool:
        """Add a text, unless a near-duplicate was added before; return whether there is such a near-duplicate."""
        known = self.has(sketch)
        if not known:
            self._bands.insert(len(self._kept), sketch, check_duplication=False)
            self._kept.append(sketch)
        return known
