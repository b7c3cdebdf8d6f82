"""Echo: how far a response repeats the words of its instruction.

A response that repeats its question lets a student guess the question, whatever it is worth. So echo explains a part
of r-IFD, as length explains a part of IFD.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rt_framework.kit.words import WORD, words
from rt_framework.model import Pair
from rt_framework.text import visible

TRIGRAM = 3
"""Number of words in the n-grams by which echo is measured."""


def echo(asked: str, answer: str) -> float | None:
    """Return the share of the question's word trigrams that stand in the answer, from 0 to 1.

    Each trigram counts once.

    Returns:
        the share; ``None`` for a question of fewer than three words, which has no trigram.
    """
    trigrams = set(_ngrams(words(asked), TRIGRAM))
    return len(trigrams & set(_ngrams(words(answer), TRIGRAM))) / len(trigrams) if trigrams else None


def echo_of(pair: Pair) -> float | None:
    """Return the echo of a pair: of its instruction and input in its response without reasoning.

    Returns:
        the share; ``None`` where the question has no trigram, or there is neither a response nor a call of a tool.
    """
    return echo(pair.user_turn, pair.answer) if visible(pair.answer) or pair.tool_calls else None


def novel(text: str, other: str, size: int) -> list[tuple[int, int]]:
    """Return the character ranges of the words of *text* that stand in none of the n-grams that *other* has too.

    Neighbouring words are one range, which includes what stands between them.

    Args:
        text: the text whose words are looked at.
        other: the text that may repeat it.
        size: number of words of an n-gram.
    """
    found = list(WORD.finditer(text))
    own, others = [match.group().casefold() for match in found], set(_ngrams(words(other), size))
    repeated = {
        place + within for place, ngram in enumerate(_ngrams(own, size)) if ngram in others for within in range(size)
    }
    ranges: list[tuple[int, int]] = []
    for place, match in enumerate(found):
        if place not in repeated:
            begins = ranges.pop()[0] if ranges and place - 1 not in repeated else match.start()
            ranges.append((begins, match.end()))
    return ranges


def _ngrams(sequence: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(sequence[place : place + size]) for place in range(len(sequence) - size + 1))
