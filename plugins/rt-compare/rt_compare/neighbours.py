"""Near-duplicates: texts that share most of their words in the same order, found by datasketch's MinHash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
from attrs import frozen

from rt_framework.kit.words import words

PERMUTATIONS = 128
"""Hashes in one sketch. The estimate of a similarity s has a standard error of √(s (1 − s) / 128): 0.035 at 0.8."""

THRESHOLD = 0.8
"""Least estimated similarity at which two texts are near-duplicates."""

WORDS = 3
"""Number of consecutive words in one piece of a text."""

BANDS, _ROWS = 10, 7
"""10 bands of 7 hashes: texts of similarity s are compared with probability 1 − (1 − s⁷)¹⁰, which is 0.91 at 0.8 and
0.999 at 0.9. More bands would find more, but each takes time."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""An odd number with bits of no pattern, by which hashes are mixed."""

_AT_ONCE = 4096
"""Number of sketches that are read from disk, or compared, together: 2 MiB."""

_BYTES = 4 * PERMUTATIONS
"""Size of a sketch on disk."""

Numbers = np.ndarray[Any, Any]


def pieces(text: str) -> list[bytes]:
    """Return every three consecutive words, each once; all of a shorter text. Case and punctuation are ignored."""
    own = words(text)
    found = {" ".join(own[at : at + WORDS]) for at in range(max(len(own) - WORDS + 1, 1))}
    return [piece.encode("utf-8", "surrogatepass") for piece in found]


class Sketches:
    """Sketches of texts, in a temporary file: short digests that keep what is needed to estimate a similarity.

    A sketch is the MinHash of a text's :func:`pieces` (Broder 1997), half a kilobyte whatever the text's length.
    """

    def __init__(self) -> None:
        from datasketch import MinHash

        self._empty = MinHash(num_perm=PERMUTATIONS)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        """Add the sketch of a text.

        Raises:
            OSError: the disk is full.
        """
        made = self._empty.copy()
        made.update_batch(pieces(text))
        self._file.write(made.hashvalues.astype(np.uint32).tobytes())
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def read(self) -> Iterator[Numbers]:
        """Yield all sketches in the order of the texts, some thousand at a time."""
        self._file.seek(0)
        while block := self._file.read(_BYTES * _AT_ONCE):
            yield np.frombuffer(block, np.uint32).reshape(-1, PERMUTATIONS)

    def of(self, texts: Iterable[int]) -> Numbers:
        """Return the sketches of some texts."""
        found = bytearray()
        for text in texts:
            self._file.seek(_BYTES * int(text))
            found += self._file.read(_BYTES)
        return np.frombuffer(found, np.uint32).reshape(-1, PERMUTATIONS)


@frozen
class Repeats:
    """Numbers of near-duplicates."""

    a: int
    """Texts of A that are near-duplicates of an earlier text of A."""
    b: int
    """Texts of B that are near-duplicates of an earlier text of B."""
    across: int
    """Texts of B that are near-duplicates of a text of A."""


def near_duplicates(sketches: Sketches, first: int) -> Repeats:
    """Count near-duplicates, by the Jaccard similarity |P ∩ Q| / |P ∪ Q| of two texts' pieces.

    Only texts that have an equal band in their sketches are compared (locality-sensitive hashing, Indyk and Motwani
    1998), and only with the first of several near-duplicates. Texts without such a partner take no time here. The
    partners of the bands are found by sorting, one band at a time, which holds about 30 bytes a text.

    Args:
        sketches: sketches of all texts of A, then of all texts of B.
        first: number of texts of A.
    """
    buckets = _Buckets.of(sketches)
    a = b = across = 0
    for text, own in buckets:
        equal = _near(sketches, text, buckets.partners(own))
        if text < first:
            a += (known := bool(len(equal)))
        else:
            across += bool(len(equal) and equal[0] < first)
            b += (known := bool(len(equal) and equal[-1] >= first))
        if not known:
            buckets.keep(text, own)
    return Repeats(a, b, across)


def _near(sketches: Sketches, text: int, partners: Numbers) -> Numbers:
    """Return those of the partners of a text, in order, that are near-duplicates of it."""
    own = sketches.of([text])
    found = [
        some[np.count_nonzero(sketches.of(some) == own, axis=1) >= THRESHOLD * PERMUTATIONS]
        for some in np.array_split(partners, range(_AT_ONCE, len(partners), _AT_ONCE))
    ]
    return np.concatenate(found)


class _Buckets:
    """Texts that have an equal band in their sketches, band by band, and which of them are kept.

    Args:
        texts: the text of each membership of a bucket, ascending.
        buckets: the bucket of each membership.
    """

    def __init__(self, texts: Numbers, buckets: Numbers) -> None:
        self._texts, self._buckets = texts, buckets
        sizes = np.bincount(buckets)
        self._starts = np.cumsum(sizes) - sizes
        self._kept = np.zeros(len(sizes), np.uint32)
        self._members = np.empty(len(texts), np.uint32)
        """Texts that are kept: those of each bucket from its start on, as many as *_kept* says."""

    @classmethod
    def of(cls, sketches: Sketches) -> _Buckets:
        """Sort the texts by each band in turn, and note those that are alone with it in no bucket."""
        texts, buckets, found = [], [], 0
        for band in range(BANDS):
            keys = np.concatenate([_keys(block, band) for block in sketches.read()])
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            as_before = np.concatenate(([False], keys[1:] == keys[:-1]))
            shared = as_before | np.append(as_before[1:], False)
            firsts = np.cumsum((shared & ~as_before)[shared])
            texts.append(order[shared].astype(np.uint32))
            buckets.append((firsts - 1 + found).astype(np.uint32))
            found += int(firsts[-1]) if len(firsts) else 0
        every, of = np.concatenate(texts), np.concatenate(buckets)
        by_text = np.argsort(every, kind="stable")
        return cls(every[by_text], of[by_text])

    def __iter__(self) -> Iterator[tuple[int, Numbers]]:
        """Yield each text that shares a bucket, in order, with these buckets."""
        if len(self._texts):
            ends = np.append(np.flatnonzero(np.diff(self._texts)) + 1, len(self._texts))
            for start, end in zip(np.append(0, ends), ends, strict=False):
                yield int(self._texts[start]), self._buckets[start:end]

    def partners(self, buckets: Numbers) -> Numbers:
        """Return the texts in these buckets that are kept, in order."""
        starts, counts = self._starts[buckets], self._kept[buckets]
        return np.unique(np.concatenate([self._members[at : at + n] for at, n in zip(starts, counts, strict=True)]))

    def keep(self, text: int, buckets: Numbers) -> None:
        """Keep a text: later ones in these buckets are compared with it."""
        self._members[self._starts[buckets] + self._kept[buckets]] = text
        self._kept[buckets] += 1


def _keys(block: Numbers, band: int) -> Numbers:
    """Return a 64-bit hash of one band of each sketch: h ← (h + x) · k modulo 2⁶⁴ over its hashes x."""
    keys = np.zeros(len(block), np.uint64)
    for column in range(band * _ROWS, (band + 1) * _ROWS):
        keys = (keys + block[:, column]) * _FACTOR
    return keys
