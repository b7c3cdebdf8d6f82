"""Requests for the losses of pairs, which keep their shape from the metric to the forward pass and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rt_framework.spans import Loss, Messages, Span, SpanLoss, total

SpansByName = Mapping[str, Sequence[Span]]
"""Spans of one pair, by the names that its metrics give them: one span for each assistant turn."""


class LossRequest:
    """The spans of some pairs, each of which has a loss or is still missing one; it is completed in place.

    Args:
        pairs: the spans of each pair, by name.
        key: returns the key of a span's loss.
    """

    def __init__(self, pairs: Sequence[SpansByName], key: Callable[[Span], str]) -> None:
        # Of a span that has its loss only the key is kept, since a completed request is held until its wave is done.
        self._keys = [{name: [key(span) for span in spans] for name, spans in by_name.items()} for by_name in pairs]
        self._losses: dict[str, SpanLoss] = {}
        self.missing = distinct(
            keyed
            for keys, by_name in zip(self._keys, pairs, strict=True)
            for name, spans in by_name.items()
            for keyed in zip(keys[name], spans, strict=True)
        )
        """Spans whose loss is not filled in yet, by key."""
        self.characters = sum(map(_characters, self.missing.values()))
        """Characters that are read for these spans, as a measure of the work that is left."""

    def fill(self, losses: Mapping[str, SpanLoss]) -> None:
        """Fill in missing losses, by key."""
        for key, loss in losses.items():
            self._losses[key] = loss
            self.characters -= _characters(self.missing.pop(key))

    def filled(self) -> int:
        """Return the number of spans that have a loss; equal spans count as often as they are asked for."""
        return sum(key in self._losses for by_name in self._keys for keys in by_name.values() for key in keys)

    def losses(self) -> list[dict[str, Loss]]:
        """Return the losses of each pair by name, in the shape in which the spans were given; none may be missing."""
        return [
            {name: total([self._losses[key] for key in keys]) for name, keys in by_name.items()}
            for by_name in self._keys
        ]


def distinct(spans: Iterable[tuple[str, Span]]) -> dict[str, Span]:
    """Return the spans by key; of equal spans one with ``by_token`` is kept, since its loss answers both."""
    by_key: dict[str, Span] = {}
    for key, span in spans:
        if key not in by_key or span.by_token:
            by_key[key] = span
    return by_key


def _characters(span: Span) -> int:
    if span.count_only:
        return 0
    context = span.context.turns if isinstance(span.context, Messages) else span.context
    before = len(context) if isinstance(context, str) else sum(len(turn.content) for turn in context)
    return before + len(span.target if isinstance(span.target, str) else span.target.content)
