"""Encoding of spans as token ids; each text of a call is rendered and tokenised only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import evolve, frozen

from rt_framework.builtin.models import leading_ids, render
from rt_framework.builtin.students.encoding import empty, encode_ids, encode_text
from rt_framework.errors import Unscorable
from rt_framework.spans import Context, EncodedSpan, Span, SpanLoss, only_scored


@frozen
class Piece:
    """A text to tokenise."""

    text: str
    led: bool
    """True if the tokenizer's leading ids (BOS) come before the text."""
    placed: bool = False
    """True if it is needed where in the text each token starts."""


@frozen
class Pieces:
    """The texts that make up one span."""

    context: Piece
    target: Piece
    """Target text; with ``join="text"`` context and target as one text."""
    paired_context: Piece | None

    def texts(self) -> Iterable[str]:
        """Yield every text."""
        return (piece.text for piece in (self.context, self.target, self.paired_context) if piece is not None)


class Encoder:
    """Encoder of spans with one tokenizer.

    Args:
        tokenizer: a transformers tokenizer.
        window: the model's longest sequence in tokens.
        foreign: tokens by id that the model does not know; a text with such a token has no loss.
    """

    def __init__(self, tokenizer: Any, window: int, foreign: Mapping[int, str] = MappingProxyType({})) -> None:
        self._tokenizer = tokenizer
        self._window = window
        self._foreign = foreign
        self._leading = leading_ids(tokenizer)
        self._leading_text = tokenizer.bos_token if tokenizer.bos_token_id in self._leading else ""

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """Return the token ids of each span, or a result that says why there are none."""
        pieces = [self._pieces(span) for span in spans]
        ids = self._tokenise(text for piece in pieces if isinstance(piece, Pieces) for text in piece.texts())
        starts = self._starts(
            piece.target.text for piece in pieces if isinstance(piece, Pieces) and piece.target.placed
        )
        return [
            self._join(span, piece, ids, starts) if isinstance(piece, Pieces) else piece
            for span, piece in zip(spans, pieces, strict=True)
        ]

    def _pieces(self, span: Span) -> Pieces | SpanLoss:
        if not span.target.strip():
            return empty()
        if span.scored is not None and not self._tokenizer.is_fast:
            return SpanLoss(None, 0, "no_parts", "the tokenizer does not say where in the text its tokens start")
        try:
            context = self._context(span.context, span.join)
            paired_context = None if span.paired_context is None else self._context(span.paired_context, span.join)
            (context.text + span.target + (paired_context.text if paired_context else "")).encode()
        except Unscorable as error:
            return SpanLoss(None, 0, error.status, error.reason)
        except UnicodeEncodeError:
            return SpanLoss(None, 0, "bad_text", "the text holds a lone surrogate, which no tokenizer can read")
        joined, placed = span.join == "text", span.scored is not None
        text = context.text + span.target if joined else span.target
        return Pieces(context, Piece(text, joined, placed), paired_context)

    def _context(self, context: Context, join: str) -> Piece:
        if isinstance(context, str):
            return Piece(context, led=True)
        text = render(self._tokenizer, context)
        # The template has written the leading token already, and the tokenizer would put a second one before it.
        return Piece(text.removeprefix(self._leading_text), led=True) if join == "text" else Piece(text, led=False)

    def _tokenise(self, texts: Iterable[str]) -> Mapping[str, Sequence[int]]:
        unique = list(dict.fromkeys(texts))
        if not unique:
            return {}
        encoded = self._tokenizer(unique, add_special_tokens=False, return_attention_mask=False, verbose=False)
        return dict(zip(unique, encoded["input_ids"], strict=True))

    def _starts(self, texts: Iterable[str]) -> Mapping[str, Sequence[int]]:
        """Return the character at which each token of a text starts."""
        unique = list(dict.fromkeys(texts))
        if not unique:
            return {}
        encoded = self._tokenizer(unique, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        offsets = encoded["offset_mapping"]
        return {text: [start for start, _ in own] for text, own in zip(unique, offsets, strict=True)}

    def _tokens(self, piece: Piece, ids: Mapping[str, Sequence[int]]) -> Sequence[int]:
        return (*self._leading, *ids[piece.text]) if piece.led else ids[piece.text]

    def _join(
        self, span: Span, pieces: Pieces, ids: Mapping[str, Sequence[int]], starts: Mapping[str, Sequence[int]]
    ) -> EncodedSpan | SpanLoss:
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
        return self._scored(span, encoded, pieces, starts, len(context)) if span.scored is not None else encoded

    def _scored(
        self, span: Span, encoded: EncodedSpan, pieces: Pieces, starts: Mapping[str, Sequence[int]], first: int
    ) -> EncodedSpan | SpanLoss:
        """Return the encoding with the scored parts of the target only; *first* is the context's length in tokens."""
        places = starts[pieces.target.text]
        if span.join == "text":
            # Context and target are one text here.
            places = [start - len(pieces.context.text) for start in places[first - len(self._leading) :]]
        return only_scored(span, encoded, places, first)
