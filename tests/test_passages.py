"""Passages that stand in many texts are found, counted once a text, in bounded memory."""

from __future__ import annotations

import random

import pytest

from rt_framework.kit import passages
from rt_framework.kit.passages import Passage, repeated_passages

NOTE = (
    "Please note that this answer is of a general nature and that it cannot replace the advice of a professional "
    "who knows your circumstances."
)


def _own(number: int) -> str:
    """A long sentence that no other text has."""
    rng = random.Random(number)
    return " ".join("".join(rng.choices("abcdefghijklmnop", k=7)) for _ in range(20)) + "."


@pytest.mark.parametrize(
    "text",
    [f"{{own}} {NOTE}", f"{NOTE} {{own}}", f"{{own}}\n\n{NOTE}\n", f"- {{own}}\n{NOTE}\n- {{own}}", NOTE],
    ids=["behind", "before", "paragraph", "line", "alone"],
)
def test_a_repeated_passage_is_found_wherever_it_stands(text):
    texts = [text.format(own=_own(number)) if number % 3 else _own(number) for number in range(30)]
    assert repeated_passages(texts) == [Passage(NOTE, 20)]


def test_capitals_and_white_space_may_differ():
    assert repeated_passages([NOTE, NOTE.upper(), NOTE.replace(" ", "\n ", 1), _own(1)]) == [Passage(NOTE.upper(), 3)]


def test_a_text_counts_once():
    assert repeated_passages([f"{NOTE}\n{NOTE} {_own(1)}", f"{NOTE} {NOTE}"]) == [Passage(NOTE, 2)]


def test_short_passages_do_not_count():
    short = "Certainly! Here is the answer to your question."
    assert repeated_passages([f"{short} {_own(number)}" for number in range(9)]) == []
    found = repeated_passages([f"{short} {_own(number)}" for number in range(9)], least=20)
    assert [one.count for one in found] == [9] and found[0].text.startswith("Here is")


def test_what_stands_only_in_a_longer_passage_is_left_out():
    """But not what also stands alone."""
    longer = f"{NOTE} {_own(0)}"
    assert repeated_passages([f"{longer}\n\n{_own(number)}" for number in range(1, 5)]) == [Passage(longer, 4)]
    assert repeated_passages([longer, longer, f"{NOTE} {_own(1)}"]) == [Passage(NOTE, 3), Passage(longer, 2)]


def test_the_most_frequent_come_first_and_a_long_one_is_cut():
    texts = [*[NOTE] * 2, *["word " * 1000] * 3]
    first, second = repeated_passages(texts)
    assert (first.count, second) == (3, Passage(NOTE, 2))
    assert first.text.startswith("word word") and first.text.endswith("…") and len(first.text) == 301
    assert repeated_passages(texts, most=1) == [first]


def test_chinese_sentences_need_no_spaces():
    sentence = "请注意" * 40 + "。"
    assert repeated_passages([f"{number}。{sentence}{number}" for number in range(3)]) == [Passage(sentence, 3)]


def test_many_different_texts_are_counted_in_bounded_memory(monkeypatch):
    """A passage of every twentieth text is found with its count although the table forgets the rare ones many times."""
    monkeypatch.setattr(passages, "_MOST", 500)
    sizes = []
    forget = passages.PassageCounts._forget

    def watched(table):
        sizes.append(len(table._counts))
        forget(table)

    monkeypatch.setattr(passages.PassageCounts, "_forget", watched)
    texts = (f"{_own(number)} {NOTE}" if number % 20 == 0 else _own(number) for number in range(4000))
    assert repeated_passages(texts) == [Passage(NOTE, 200)]
    assert len(sizes) > 5 and max(sizes) < 510
