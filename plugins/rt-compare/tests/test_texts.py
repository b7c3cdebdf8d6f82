"""Near-duplicates and languages, by texts for which the answer is known."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from datasketch import MinHash, MinHashLSH

from rt_compare import neighbours
from rt_compare.languages import UNSURE, language
from rt_compare.neighbours import Repeats, Sketches, near_duplicates

TEXT = " ".join(f"word{n}" for n in range(60))


def counted(a, b=()):
    """Numbers of near-duplicates in A, in B, and of B in A."""
    with Sketches() as sketches:
        for text in a:
            sketches.add(text)
        first = len(sketches)
        for text in b:
            sketches.add(text)
        return near_duplicates(sketches, first)


def test_near_duplicates_share_most_of_their_words():
    """A changed word, case and punctuation do not hide one; half of the text, or the words in another order, do."""
    for near in (TEXT, TEXT.replace("word7 ", "other "), TEXT.upper().replace(" ", ", ")):
        assert counted([TEXT, near]) == Repeats(1, 0, 0), near
        assert counted([TEXT], [near]) == Repeats(0, 0, 1), near
    shuffled = TEXT.split()
    random.Random(0).shuffle(shuffled)
    for far in (TEXT[: len(TEXT) // 2], " ".join(shuffled), "", "今天天气很好"):
        assert counted([TEXT, far], [far]) == Repeats(0, 0, 1), far


def test_near_duplicates_are_found_without_blanks_between_words():
    """Chinese is taken letter by letter; texts without a word are each other's."""
    chinese = "".join(chr(0x4E00 + n) for n in range(60))
    assert counted([chinese], [chinese.replace(chinese[30], "龥")]) == Repeats(0, 0, 1)
    assert counted(["?!", "...", "a\ud800b"]) == Repeats(1, 0, 0)


def test_nearly_all_of_many_near_duplicates_are_found():
    """Of 300 texts with two of 60 words changed, whose similarity is 0.81 at the least, 95 %."""
    draw = random.Random(3)
    texts = [[f"w{draw.randrange(5000)}" for _ in range(60)] for _ in range(300)]
    before = [" ".join(text) for text in texts]
    for text in texts:
        text[draw.randrange(60)] = "changed"
    found = counted(before, [" ".join(text) for text in texts])
    assert (found.a, found.b) == (0, 0)
    assert found.across >= 285


def test_the_counts_are_those_of_comparing_each_text_with_those_kept_before(monkeypatch):
    """By datasketch's own index, over chains of texts of which each changes a word or two of the one before."""
    monkeypatch.setattr(neighbours, "_AT_ONCE", 16)
    draw = random.Random(5)
    texts = [" ".join(f"w{draw.randrange(99)}" for _ in range(40))]
    for _ in range(399):
        words = (
            draw.choice(texts[-20:]).split() if draw.random() < 0.9 else [f"w{n}" for n in draw.sample(range(99), 40)]
        )
        words[draw.randrange(40)] = f"v{draw.randrange(9)}"
        texts.append(" ".join(words))
    a, b = Kept(), Kept()
    expected = Repeats(
        sum([a.add(text) for text in texts[::2]]),
        sum([b.add(text) for text in texts[1::2]]),
        sum(a.has(text) for text in texts[1::2]),
    )
    assert counted(texts[::2], texts[1::2]) == expected
    assert min(expected.a, expected.b, expected.across) > 20
    assert max(expected.a, expected.b, expected.across) < 180


def test_a_text_takes_little_memory(monkeypatch):
    """Its sketch is on disk: below 100 bytes of each text are held while near-duplicates are counted."""
    monkeypatch.setattr(neighbours, "_AT_ONCE", 64)
    peaks = []
    for count in (300, 1300):
        tracemalloc.start()
        try:
            counted(f"{number} of many texts without a partner {number}" for number in range(count))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 100 * 1000


class Kept:
    """Texts of which none is a near-duplicate of an earlier one."""

    def __init__(self):
        self._index = MinHashLSH(num_perm=128, params=(10, 7))
        self._kept = []

    def has(self, text):
        """Return whether a text that is kept is a near-duplicate."""
        return any(self._kept[at].jaccard(sketch(text)) >= 0.8 for at in self._index.query(sketch(text)))

    def add(self, text):
        """Keep a text unless it is a near-duplicate; return whether it is."""
        known = self.has(text)
        if not known:
            self._index.insert(len(self._kept), sketch(text))
            self._kept.append(sketch(text))
        return known


def sketch(text):
    """Return datasketch's sketch of a text."""
    made = MinHash(num_perm=128)
    made.update_batch(neighbours.pieces(text))
    return made


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The cat sleeps on the sofa, and nobody wants to wake it.", "en"),
        ("Die Katze schläft auf dem Sofa, und niemand möchte sie wecken.", "de"),
        ("这是一个关于人工智能的简短说明。人工智能正在改变世界，也改变生活。", "zh"),
        ("[1, 2, 3]", UNSURE),
        ("Paris", UNSURE),
        ("\ud800" * 30, UNSURE),
        ("", UNSURE),
    ],
)
def test_the_language_is_guessed_where_there_is_enough_text(text, code):
    """Else it is said not to be known."""
    assert language(text) == code
