"""From rows to unit vectors: each different text once, in one pass, whatever the order of the rows."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from rt_diversity.settings import EncoderSettings, Text
from rt_framework import Pair, Scored
from rt_framework.errors import ConfigError, ModelError
from rt_framework.protocols import Frame
from rt_framework.spans import Span

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]

Encoder = Callable[[Sequence[str]], Any]
"""From texts to an array of one row of numbers each. Lengths of the rows do not matter, directions do."""

CHUNK = 1024
"""Texts that are held at a time."""


@frozen
class Embedded:
    """The different texts of some rows."""

    vectors: Vectors
    """One row of length 1 for each different text, ordered by the smallest sample id that has it."""
    of: Places
    """The row of *vectors* for each sample, in the order in which the samples were given."""
    firsts: Places
    """The first sample, as a place among those given, of each row of *vectors*."""

    @property
    def weights(self) -> Places:
        """Number of samples with each text."""
        return np.bincount(self.of, minlength=len(self.vectors))


def spans_of(settings: EncoderSettings) -> Callable[[Pair, Frame], Sequence[Span]] | None:
    """The spans of a pair whose vector a selector asks the student for; ``None`` with another encoder."""
    if settings.embedder != "student":
        return None

    def spans(pair: Pair, frame: Frame) -> Sequence[Span]:
        asked, answered = frame.instruction_alone(pair), frame.response_given_instruction(pair)
        return {"instruction": asked, "response": answered, "whole": [*asked, *answered]}[settings.text]

    return spans


def seen(rows: Sequence[Scored], places: Sequence[int], settings: EncoderSettings) -> tuple[list[int], frozenset[int]]:
    """Split *places* into rows that can be embedded, and rows of which the student gives no vector."""
    if settings.embedder != "student":
        return list(places), frozenset()
    blank = frozenset(place for place in places if rows[place].vector is None)
    return [place for place in places if place not in blank], blank


def embedded(rows: Sequence[Scored], places: Sequence[int], settings: EncoderSettings) -> Embedded:
    """Embed the rows at *places*, which are ordered by sample id, as the settings say.

    Raises:
        ConfigError: as :func:`embed`.
        ModelError: the sentence-transformers model cannot be loaded.
    """
    if settings.embedder != "student":
        return embed(rows, places, settings.text, encoder(settings))
    known: dict[bytes, int] = {}
    of, firsts, vectors = np.empty(len(places), np.int64), list[int](), np.empty((0, 0), np.float32)
    for at, place in enumerate(places):
        vector = np.asarray(rows[place].vector, np.float32)
        of[at] = known.setdefault(hashlib.blake2b(vector.tobytes(), digest_size=16).digest(), len(known))
        if of[at] == len(firsts):
            vectors = vectors if firsts else np.empty((len(places), len(vector)), np.float32)
            vectors[len(firsts)] = _unit(vector[None], 1)[0]
            firsts.append(at)
    return Embedded(vectors[: len(firsts)], of, np.array(firsts, np.int64))


def embed(rows: Sequence[Scored], places: Sequence[int], text: Text, encode: Encoder) -> Embedded:
    """Embed the rows at *places*, which are ordered by sample id.

    A text is read once, hashed, and let go when its chunk is encoded.

    Raises:
        ConfigError: the encoder gave something else than one row of finite numbers, not all 0, for each text.
    """
    known: dict[bytes, int] = {}
    of, firsts = np.empty(len(places), np.int64), list[int]()
    vectors, filled, chunk = np.empty((0, 0), np.float32), 0, list[str]()
    for at, place in enumerate(places):
        words = _words(rows[place].version.pair, text)
        mark = hashlib.blake2b(words.encode(), digest_size=16).digest()
        of[at] = known.setdefault(mark, len(known))
        if of[at] == len(firsts):
            firsts.append(at)
            chunk.append(words)
        if len(chunk) == CHUNK or (at == len(places) - 1 and chunk):
            found = _unit(encode(chunk), len(chunk))
            # Room for all rows is only asked for here: memory that is never written to is not taken.
            vectors = vectors if filled else np.empty((len(places), found.shape[1]), np.float32)
            vectors[filled : filled + len(found)] = found
            filled, chunk = filled + len(found), []
    return Embedded(vectors[:filled], of, np.array(firsts, np.int64))


def _words(pair: Pair, text: Text) -> str:
    """The text to embed. A lone surrogate, which no tokenizer takes, becomes a question mark."""
    asked = (pair.instruction, pair.input)
    before = tuple(turn.content for turn in pair.history)
    parts = {"whole": (*before, *asked, pair.response), "instruction": asked, "response": (pair.response,)}[text]
    return "\n".join(part for part in parts if part).encode("utf-8", "replace").decode()


def _unit(found: Any, expected: int) -> Vectors:
    vectors = np.asarray(found, np.float32)
    if vectors.ndim != 2 or len(vectors) != expected:
        raise ConfigError(f"the encoder gave shape {vectors.shape} for {expected} texts; expected a row for each")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise ConfigError("the encoder gave a row without a direction: all zeros, or not finite")
    return np.asarray(vectors / lengths, np.float32)


def encoder(settings: EncoderSettings) -> Encoder:
    """The encoder that the setting ``model`` names.

    Raises:
        ConfigError: ``module:function`` cannot be imported.
        ModelError: the sentence-transformers model cannot be loaded, or not on that device.
    """
    module, colon, name = settings.model.partition(":")
    if not colon:
        return _sentence_transformer(settings)
    try:
        own: Encoder = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"model '{settings.model}': {error}") from error
    return own


def _sentence_transformer(settings: EncoderSettings) -> Encoder:
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        loaded = SentenceTransformer(settings.model, device=settings.device)
    except (OSError, ValueError, RuntimeError, AssertionError) as error:  # the last two: torch, of a device
        told = " ".join(str(error).split())
        raise ModelError(f"sentence-transformers model '{settings.model}' cannot be loaded: {told}") from error
    return lambda texts: loaded.encode(
        list(texts), batch_size=settings.batch_size, show_progress_bar=False, convert_to_numpy=True
    )
