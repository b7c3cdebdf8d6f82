"""A student without a neural network: an adaptive model of bytes. It is fast, but its scores mean little."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from rt_framework import EncodedSpan, Span, SpanLoss, hookimpl, only_scored
from rt_framework.hookspecs import Register
from rt_framework.spans import Context

_WINDOW = 4096


class ByteStudent:
    """P(byte) = (times seen before in this sequence + 1) / (bytes before + 256)."""

    fingerprint = "bytes-adaptive-1"

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """Encode each byte as one token."""
        return [_encode(span) for span in spans]

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """Score each sequence alone, so that batch mates have no influence."""
        return [_score(span) for span in batch]


def _encode(span: Span) -> EncodedSpan | SpanLoss:
    target = span.target.encode("utf-8", "replace")
    if not target:
        return SpanLoss(None, 0, "empty", "the target is empty")
    context = _bytes(span.context)
    # Both passes score the same tokens: the target is cut to fit behind the longer context, and
    # where one pass has nothing before the target, its first token is left out of both.
    paired_context = context if span.paired_context is None else _bytes(span.paired_context)
    limit = min(span.max_tokens or _WINDOW, _WINDOW)
    kept = target[: max(limit - max(len(context), len(paired_context)), 0)]
    start = len(context) + (0 if context and paired_context else 1)
    if not kept:
        return SpanLoss(None, 0, "no_room", f"the context fills the window of {limit} tokens")
    if start >= len(context) + len(kept):
        return SpanLoss(None, 0, "too_short", "one token with nothing before it")
    # Each byte of a character starts where the character does; one of a lone surrogate is a question mark.
    places = [at for at, letter in enumerate(span.target) for _ in letter.encode("utf-8", "replace")]
    return only_scored(span, EncodedSpan((*context, *kept), start, span.count_only), places, len(context))


def _bytes(context: Context) -> bytes:
    text = context if isinstance(context, str) else "".join(f"{t.role}: {t.content}\n" for t in context)
    return text.encode("utf-8", "replace")


def _score(span: EncodedSpan) -> SpanLoss:
    seen: Counter[int] = Counter()
    nats = 0.0
    scored = set(span.positions)
    for at, byte in enumerate(span.ids):
        if at in scored:
            nats -= math.log((seen[byte] + 1) / (at + 256))
        seen[byte] += 1
    return SpanLoss(nats, len(scored))


@hookimpl
def rt_register_students(register: Register) -> None:
    """Offer ``bytes``."""
    register("bytes", "student:ByteStudent", help="an adaptive model of bytes; needs no model file")
