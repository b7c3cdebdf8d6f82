"""Near-duplicates and languages, by texts for which the answer is known."""

from __future__ import annotations

import random

import pytest

from rt_compare.languages import UNSURE, language
from rt_compare.neighbours import Neighbours, Sketcher

TEXT = " ".join(f"word{n}" for n in range(60))


def test_near_duplicates_share_most_of_their_words():
    """A changed word, case and punctuation do not hide one; half of the text, or the words in another order, do."""
    sketch, known = Sketcher(), Neighbours()
    assert not known.add(sketch(TEXT))
    for near in (TEXT, TEXT.replace("word7 ", "other "), TEXT.upper().replace(" ", ", ")):
        assert known.add(sketch(near)), near
    shuffled = TEXT.split()
    random.Random(0).shuffle(shuffled)
    for far in (TEXT[: len(TEXT) // 2], " ".join(shuffled), "", "今天天气很好"):
        assert not known.has(sketch(far)), far


def test_near_duplicates_are_found_without_blanks_between_words():
    """Chinese is taken letter by letter; texts without a word are each other's."""
    sketch, known = Sketcher(), Neighbours()
    chinese = "".join(chr(0x4E00 + n) for n in range(60))
    assert not known.add(sketch(chinese))
    assert known.has(sketch(chinese.replace(chinese[30], "龥")))
    assert not known.add(sketch("?!"))
    assert known.add(sketch("..."))
    assert not known.add(sketch("a\ud800b"))


def test_nearly_all_of_many_near_duplicates_are_found():
    """Of 300 texts with two of 60 words changed, whose similarity is 0.81 at the least, 95 %."""
    sketch, draw, known = Sketcher(), random.Random(3), Neighbours()
    texts = [[f"w{draw.randrange(5000)}" for _ in range(60)] for _ in range(300)]
    assert sum(known.add(sketch(" ".join(text))) for text in texts) == 0
    for text in texts:
        text[draw.randrange(60)] = "changed"
    assert sum(known.has(sketch(" ".join(text))) for text in texts) >= 285


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
