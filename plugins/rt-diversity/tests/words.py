"""An encoder that needs no model, in which a text is the sum of its words, and rows to select from."""

from __future__ import annotations

import random
from zlib import crc32

import numpy as np

from rt_framework import Pair, Score, Scored, Version
from rt_framework.kit.compact import LazySequence

NOUNS = ["river", "bridge", "spice", "boat", "dance", "metal", "planet", "insect", "song", "castle", "cheese", "engine"]
VERBS = ["name", "count", "praise", "compare", "draw", "sell", "repair", "explain"]


def encode(texts):
    """Texts with the same words are near each other."""
    return np.stack([np.sum([_word(word) for word in text.split() or ["nothing"]], axis=0) for text in texts])


def uncased(texts):
    """Texts that differ in case only have one vector, as with many models."""
    return encode([text.lower() for text in texts])


def apart(texts):
    """Different texts have nothing in common."""
    return np.stack([_word(text) for text in texts])


def numbers(texts):
    """Texts that are numbers, as vectors that have nothing in common. Fast."""
    return np.stack([np.random.default_rng(int(text)).standard_normal(16) for text in texts])


def _word(word):
    return np.random.default_rng(crc32(word.encode())).standard_normal(16)


def rows(count, seed=0, scored=("ifd",)):
    """Rows as a run gives them: some texts occur twice, some scores are equal, ids are in no order."""
    draw = random.Random(seed)
    ids = draw.sample(range(10 * count), count)
    pairs = [Pair(f"{draw.choice(VERBS)} {draw.choice(NOUNS)}", "", " ".join(draw.choices(NOUNS, k=3))) for _ in ids]
    pairs = [draw.choice(pairs) if draw.random() < 0.1 else pair for pair in pairs]
    values = [round(draw.random(), 2) for _ in ids]
    scores = [{name: Score(value) for name in scored} for value in values]
    return LazySequence(
        count, lambda at: Scored(f"id-{ids[at]}", at, lambda: Version("original", pairs[at]), scores[at])
    )


def kept(selector, given):
    """Ids of the rows that a selector keeps."""
    return {row.sample_id for row, verdict in zip(given, selector.select(given), strict=True) if verdict.keep}
