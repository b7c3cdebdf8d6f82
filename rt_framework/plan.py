"""From encoded spans to batches: dedup, sort, fill. Pure; knows neither torch nor the ledger.

The student is handed batches and knows nothing of how they were put together, so a better plan
(shared prefixes, packing) changes this file alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from rt_framework.model import EncodedSpan


@frozen
class Batch:
    """Distinct sequences for one forward pass, and which of the asked spans each answers."""

    spans: tuple[EncodedSpan, ...]
    asked: tuple[tuple[int, ...], ...]
    """Per sequence: positions in the list that was planned."""

    @property
    def tokens(self) -> int:
        """Tokens of the forward pass, padding not counted. The last token predicts nothing."""
        return sum(len(span.ids) - 1 for span in self.spans)

    def halves(self) -> tuple[Batch, Batch]:
        """The batch in two, for when it does not fit the device."""
        middle = len(self.spans) // 2
        return (
            Batch(self.spans[:middle], self.asked[:middle]),
            Batch(self.spans[middle:], self.asked[middle:]),
        )


def plan(spans: Sequence[EncodedSpan], budget: int) -> Iterator[Batch]:
    """Batches that cover *spans*, longest first, so that running out of memory shows at once.

    Args:
        spans: what to score; equal ones are computed once.
        budget: most tokens of a padded batch. A single longer sequence is a batch of its own.
    """
    asked: dict[EncodedSpan, list[int]] = {}
    for position, span in enumerate(spans):
        asked.setdefault(span, []).append(position)
    batch: list[EncodedSpan] = []
    # Ties are broken by content: the order of arrival must not shape a batch.
    for span in sorted(asked, key=lambda s: (-len(s.ids), s.ids, s.start)):
        if batch and len(batch[0].ids) * (len(batch) + 1) > budget:
            yield _batch(batch, asked)
            batch = []
        batch.append(span)
    if batch:
        yield _batch(batch, asked)


def _batch(spans: Sequence[EncodedSpan], asked: dict[EncodedSpan, list[int]]) -> Batch:
    return Batch(tuple(spans), tuple(tuple(asked[span]) for span in spans))
