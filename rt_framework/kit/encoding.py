"""Encoding of spans as token ids, by the same rules for every student; each text of a call is tokenised only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Self

from attrs import evolve, frozen

from rt_framework.errors import Unscorable
from rt_framework.kit.positions import empty, encode_ids, encode_text
from rt_framework.kit.tokenizing import leading_ids, render
from rt_framework.kit.turn_texts import Render, TurnTexts
from rt_framework.spans import Context, EncodedSpan, Span, SpanLoss, only_scored

ENCODING = 1
"""Version of these rules: a part of the fingerprint of every student that uses them."""

Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Function that returns the token ids of each text, in order, with nothing put before or after it."""

Starts = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Function that returns of each text the character at which each of its tokens starts, in the order of their ids."""


@frozen
class Piece:
    """A text to tokenise."""

    text: str
    led: bool
    """True if the leading ids (BOS) come before the text."""
    placed: bool = False
    """True if it is needed where in the text each token starts."""


@frozen
class Pieces:
    """The texts that make up one span."""

    span: Span
    """The span, with a text as its target."""
    context: Piece
    target: Piece
    """Target text; with ``join="text"`` context and target as one text."""
    paired_context: Piece | None

    def texts(self) -> Iterable[str]:
        """Yield every text."""
        return (piece.text for piece in (self.context, self.target, self.paired_context) if piece is not None)


class Encoder:
    """Encoder of spans: what :meth:`rt_framework.protocols.Student.encode` has to do, for any tokenizer.

    Args:
        tokenize: returns the token ids of texts, without special tokens around them.
        render: returns messages as text, by the chat template of the model; see :mod:`rt_framework.kit.turn_texts`.
        window: the model's longest sequence in tokens.
        leading: ids that come before every text that begins a sequence: BOS, or nothing.
        leading_text: text of these ids, if *render* writes it before the messages.
        foreign: tokens by id that the model does not know; a text with such a token has no loss.
        starts: returns where the tokens of texts start; without it a span with ``scored`` has the status ``no_parts``.
    """

    def __init__(
        self,
        tokenize: Tokenize,
        render: Render,
        window: int,
        leading: Sequence[int] = (),
        leading_text: str = "",
        foreign: Mapping[int, str] = MappingProxyType({}),
        starts: Starts | None = None,
    ) -> None:
        self._tokenize = tokenize
        self._token_starts = starts
        self._turns = TurnTexts(render)
        self._window = window
        self._leading = tuple(leading)
        self._leading_text = leading_text
        self._foreign = foreign

    @classmethod
    def of(cls, tokenizer: Any, window: int, foreign: Mapping[int, str] = MappingProxyType({})) -> Self:
        """Return the encoder for a tokenizer of transformers, with its leading ids and its chat template."""

        def tokenize(texts: Sequence[str]) -> Sequence[Sequence[int]]:
            encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
            ids: Sequence[Sequence[int]] = encoded["input_ids"]
            return ids

        def starts(texts: Sequence[str]) -> Sequence[Sequence[int]]:
            encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            return [[start for start, _ in offsets] for offsets in encoded["offset_mapping"]]

        leading = leading_ids(tokenizer)
        leading_text = tokenizer.bos_token if tokenizer.bos_token_id in leading else ""
        known = starts if tokenizer.is_fast else None
        return cls(tokenize, partial(render, tokenizer), window, leading, leading_text, foreign, known)

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result that says why there are none."""
        pieces = [self._pieces(span) for span in spans]
        found = [piece for piece in pieces if isinstance(piece, Pieces)]
        ids = _each(self._tokenize, (text for piece in found for text in piece.texts()))
        placed = (piece.target.text for piece in found if piece.target.placed)
        starts = _each(self._token_starts, placed) if self._token_starts is not None else {}
        return [self._join(piece, ids, starts) if isinstance(piece, Pieces) else piece for piece in pieces]

    def _pieces(self, span: Span) -> Pieces | SpanLoss:
        try:
            span = self._turns.as_text(span)
            target = str(span.target)
            if not target.strip():
                return empty()
            if span.scored is not None and self._token_starts is None:
                return SpanLoss(None, 0, "no_parts", "the tokenizer does not say where in the text its tokens start")
            context = self._context(span.context, span.join)
            paired_context = None if span.paired_context is None else self._context(span.paired_context, span.join)
            (context.text + target + (paired_context.text if paired_context else "")).encode()
        except Unscorable as error:
            return SpanLoss(None, 0, error.status, error.reason)
        except UnicodeEncodeError:
            return SpanLoss(None, 0, "bad_text", "the text holds a lone surrogate, which no tokenizer can read")
        joined, placed = span.join == "text", span.scored is not None
        text = context.text + target if joined else target
        return Pieces(span, context, Piece(text, joined, placed), paired_context)

    def _context(self, context: Context, join: str) -> Piece:
        if isinstance(context, str):
            return Piece(context, led=True)
        text = self._turns.context(context)
        # The template has written the leading token already, and the leading ids would put a second one before it.
        return Piece(text.removeprefix(self._leading_text), led=True) if join == "text" else Piece(text, led=False)

    def _tokens(self, piece: Piece, ids: Mapping[str, Sequence[int]]) -> Sequence[int]:
        return (*self._leading, *ids[piece.text]) if piece.led else ids[piece.text]

    def _join(
        self, pieces: Pieces, ids: Mapping[str, Sequence[int]], starts: Mapping[str, Sequence[int]]
    ) -> EncodedSpan | SpanLoss:
        span = pieces.span
        limit = min(span.max_tokens or self._window, self._window)
        paired_context = None if pieces.paired_context is None else len(self._tokens(pieces.paired_context, ids))
        context, target = self._tokens(pieces.context, ids), self._tokens(pieces.target, ids)
        met = (
            next((self._foreign[id_] for id_ in (*context, *target) if id_ in self._foreign), "")
            if self._foreign
            else ""
        )
        if met:
            return SpanLoss(
                None, 0, "bad_text", f"the text has the token {met!r}, which is not in the model's vocabulary"
            )
        if span.join == "text":
            encoded = encode_text(target, len(context), paired_context, limit, span.count_only)
        else:
            encoded = encode_ids(context, target, paired_context, limit, span.count_only)
        if isinstance(encoded, SpanLoss):
            return encoded
        encoded = evolve(encoded, by_token=True) if span.by_token else encoded
        return self._scored(encoded, pieces, starts, len(context)) if span.scored is not None else encoded

    def _scored(
        self, encoded: EncodedSpan, pieces: Pieces, starts: Mapping[str, Sequence[int]], first: int
    ) -> EncodedSpan | SpanLoss:
        """Return the encoding with the scored parts of the target only; *first* is the context's length in tokens."""
        span, places = pieces.span, starts[pieces.target.text]
        if span.join == "text":
            # Context and target are one text here.
            places = [start - len(pieces.context.text) for start in places[first - len(self._leading) :]]
        return only_scored(span, encoded, places, first)


def _each(
    function: Callable[[Sequence[str]], Sequence[Sequence[int]]], texts: Iterable[str]
) -> Mapping[str, Sequence[int]]:
    """Return what a function gives for each text, by the text; it is called once, with each text once."""
    unique = list(dict.fromkeys(texts))
    return dict(zip(unique, function(unique), strict=True)) if unique else {}
