"""A student and an encoder that need no model, so that the example runs anywhere in a few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rt_framework import hookimpl
from rt_framework.hookspecs import Register


def encode(texts: Sequence[str]) -> Any:
    """Counts of words: texts are alike that share words."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=4096, alternate_sign=False).transform(texts).toarray()


@hookimpl
def rt_register_students(register: Register) -> None:
    """Offer ``made-up``: the loss of a word is a hash of the words before it."""
    register("made-up", "rt_framework.testing:FakeStudent", help="losses are hashes")
