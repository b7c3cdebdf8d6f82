"""Encoding of spans as token ids; each text of a call is rendered and tokenised only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attrs import evolve, frozen

from rt_framework.builtin.models import leading_ids, render
from rt_framework.builtin.students.encoding import empty, encode_ids, encode_text
from rt_framework.errors import Unscorable
from rt_framework.spans import Context, EncodedSpan, Span, SpanLoss


@frozen
class Piece:
    """A text to tokenise."""

    text: str
    led: bool
    """True if the tokenizer's leading ids (BOS) come before the text."""


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
        return [
            self._join(span, piece, ids) if isinstance(piece, Pieces) else piece
            for span, piece in zip(spans, pieces, strict=True)
        ]

    def _pieces(self, span: Span) -> Pieces | SpanLoss:
        if not span.target.strip():
            return empty()
        try:
            context = self._context(span.context, span.join)
            paired_context = None if span.paired_context is None else self._context(span.paired_context, span.join)
            (context.text + span.target + (paired_context.text if paired_context else "")).encode()
        except Unscorable as error:
            return SpanLoss(None, 0, error.status, error.reason)
        except UnicodeEncodeError:
            return SpanLoss(None, 0, "bad_text", "the text holds a lone surrogate, which no tokenizer can read")
        joined = span.join == "text"
        return Pieces(
            context, Piece(context.text + span.target, True) if joined else Piece(span.target, False), paired_context
        )

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

    def _join(self, span: Span, pieces: Pieces, ids: Mapping[str, Sequence[int]]) -> EncodedSpan | SpanLoss:
        def tokens(piece: Piece) -> Sequence[int]:
            return (*self._leading, *ids[piece.text]) if piece.led else ids[piece.text]

        limit = min(span.max_tokens or self._window, self._window)
        paired_context = None if pieces.paired_context is None else len(tokens(pieces.paired_context))
        context, target = tokens(pieces.context), tokens(pieces.target)
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
        return evolve(encoded, by_token=True) if span.by_token and isinstance(encoded, EncodedSpan) else encoded
