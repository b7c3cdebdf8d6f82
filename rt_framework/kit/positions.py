"""Positions of a target in a sequence: start, and cut at the length limit. Pure arithmetic on token lists."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.spans import EncodedSpan, SpanLoss

_TOO_SHORT = "one token with nothing before it: no prediction to score"


def encode_text(
    whole: Sequence[int], boundary: int, paired_context: int | None, limit: int, count_only: bool = False
) -> EncodedSpan | SpanLoss:
    """Return a span whose context and target were encoded as one text, as in the published procedure.

    Args:
        whole: ids of context and target, leading ids included.
        boundary: length of the context encoded by itself: the first target position.
        paired_context: length of the other pass's context. The target is cut so that it also fits after that
            context: the text may have ``limit - paired_context + 1`` tokens.
        limit: longest sequence in tokens.
        count_only: the target is only counted, so its first token needs no prediction.
    """
    room = limit if paired_context is None else limit - paired_context + 1
    start = boundary if count_only else max(boundary, 1)
    ids = tuple(whole[: max(room, 0)])
    if start < len(ids):
        return EncodedSpan(ids, start, count_only, cut=len(whole) - len(ids))
    if room <= start:
        return no_room(max(boundary, paired_context or 0), limit)
    return SpanLoss(
        None, 0, "too_short", "the target shares its only token with the end of the context" if boundary else _TOO_SHORT
    )


def encode_ids(
    context: Sequence[int], target: Sequence[int], paired_context: int | None, limit: int, count_only: bool = False
) -> EncodedSpan | SpanLoss:
    """Return a span whose context and target were encoded separately. Both passes score the same target tokens.

    Args:
        context: ids of the context.
        target: ids of the target.
        paired_context: length of the other pass's context in tokens, if there is one.
        limit: longest sequence in tokens; the target is cut to fit after the longer context.
        count_only: the target is only counted, so its first token needs no prediction.
    """
    other = len(context) if paired_context is None else paired_context
    kept = target[: max(limit - max(len(context), other), 0)]
    # If one pass has an empty context, the first target token has no prediction there, and both passes skip it.
    skipped = 1 if min(len(context), other) == 0 and not count_only else 0
    ids, start = (*context, *kept), len(context) + skipped
    if start < len(ids):
        return EncodedSpan(ids, start, count_only, cut=len(target) - len(kept))
    if target and not kept:
        return no_room(max(len(context), other), limit)
    return SpanLoss(None, 0, "too_short", _TOO_SHORT) if kept else empty()


def no_room(context: int, limit: int) -> SpanLoss:
    """Return the result for a span whose context fills the window."""
    return SpanLoss(None, 0, "no_room", f"the context takes {context} of {limit} tokens: no room for the target")


def empty() -> SpanLoss:
    """Return the result for a span without a target."""
    return SpanLoss(None, 0, "empty", "the target is empty")
