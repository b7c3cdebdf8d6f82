"""Storage of one student's losses in a ledger: their keys, their look-up, and the rules by which they are committed."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rt_framework.ledger import Ledger
from rt_framework.model import digest, keyed
from rt_framework.spans import LASTING, Span, SpanLoss


class LossStore:
    """The losses of one student in one ledger.

    Args:
        fingerprint: the student's identity, part of every key.
        ledger: where losses are kept.
    """

    def __init__(self, fingerprint: str, ledger: Ledger) -> None:
        self._fingerprint = fingerprint
        self._ledger = ledger

    def key(self, span: Span) -> str:
        """Return the key of the span's loss."""
        return key_of(span, self._fingerprint)

    def find(self, spans: Mapping[str, Span]) -> dict[str, SpanLoss]:
        """Return the losses that the ledger has; for a span ``by_token`` only those with values for each token.

        Args:
            spans: the spans, by key.
        """
        losses = self._ledger.losses.find(key for key, span in spans.items() if not span.by_token)
        losses |= self._ledger.losses.find_by_token(key for key, span in spans.items() if span.by_token)
        return _lasting(losses)

    async def commit(self, losses: Mapping[str, SpanLoss]) -> dict[str, SpanLoss]:
        """Commit computed losses by key, and return them; one that is NaN or infinite becomes a status."""
        checked = {key: _finite(loss) for key, loss in losses.items()}
        # A cause that may pass is not stored: a sequence may fit a larger device, and a server may be back.
        await self._ledger.losses.put(_lasting(checked))
        return checked

    async def add_path(self, path: str) -> None:
        """Record the name of a forward path by which losses of this ledger are computed, for the manifest."""
        paths = self._ledger.meta("forward_paths") or []
        await self._ledger.set_meta("forward_paths", sorted({*paths, path}))


def key_of(span: Span, *what: str) -> str:
    """Return the key of what a student gives for a span.

    Args:
        span: the span.
        what: the student's fingerprint, and what it gives if that is no loss.
    """
    # ``by_token`` is no part of the key: a loss with the values of each token serves a span without them too.
    texts = [keyed(span.context), keyed(span.target), keyed(span.paired_context)]
    # These are part of the key only where they are given, so that losses from before there were such are found.
    parts: list[object] = [] if span.scored is None else [span.scored]
    parts += [] if span.part == "whole" else [span.part]
    parts += [] if span.within is None else [{"within": keyed(span.within)}]
    return digest([*what, *texts, span.join, span.max_tokens, span.count_only, *parts])


def _lasting(losses: Mapping[str, SpanLoss]) -> dict[str, SpanLoss]:
    return {key: loss for key, loss in losses.items() if loss.status in LASTING}


def _finite(loss: SpanLoss) -> SpanLoss:
    """Return the loss, marked ``nonfinite`` and without its number if that is NaN or infinite."""
    if loss.nll is None or math.isfinite(loss.nll):
        return loss
    return SpanLoss(None, loss.tokens, "nonfinite", f"the student's loss is {loss.nll}")
