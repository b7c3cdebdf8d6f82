"""From encoded spans to batches: dedup, sort, fill. Pure; knows neither torch nor the ledger.

The student is handed batches and knows nothing of how they were put together. A batch is meant to be
run either as padded sequences or as one packed row (:mod:`rt_framework.kit.packing`): what fits differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from attrs import frozen

from rt_framework.spans import EncodedSpan, shared


@frozen
class ForwardBatch:
    """Distinct sequences for one forward pass, and which of the asked spans each answers."""

    spans: tuple[EncodedSpan, ...]
    asked: tuple[tuple[int, ...], ...]
    """Per sequence: positions in the list that was planned."""
    packed: bool
    """Whether the sequences are in the order in which neighbours share most, to be fed as one row."""

    @property
    def tokens(self) -> int:
        """Tokens that the forward pass is fed, padding not counted. The last token of a sequence predicts nothing."""
        fed = sum(len(span.ids) - 1 for span in self.spans)
        return fed - sum(shared(*both) for both in pairwise(self.spans)) if self.packed else fed

    @property
    def size(self) -> int:
        """What it takes of the budget: as :attr:`tokens`, with the padding."""
        return self.tokens if self.packed else max(len(span.ids) for span in self.spans) * len(self.spans)

    def halves(self) -> tuple[ForwardBatch, ForwardBatch]:
        """The batch in two, for when it does not fit the device."""
        middle = len(self.spans) // 2
        return (
            ForwardBatch(self.spans[:middle], self.asked[:middle], self.packed),
            ForwardBatch(self.spans[middle:], self.asked[middle:], self.packed),
        )


def plan(spans: Sequence[EncodedSpan], budget: Callable[[], int], packed: bool) -> Iterator[ForwardBatch]:
    """Batches that cover *spans*.

    Args:
        spans: what to score; equal ones are computed once.
        budget: most tokens of a batch, asked anew for each, since a device may turn out to have room for
            fewer. Padded sequences count as long as the longest; packed ones count what they do not share
            with the one before. A single longer sequence is a batch of its own.
        packed: for one row a batch, else for padded sequences.
    """
    asked: dict[EncodedSpan, list[int]] = {}
    for position, span in enumerate(spans):
        asked.setdefault(span, []).append(position)
    # Ties are broken by content: the order of arrival must not shape a batch.
    order = sorted(asked, key=_by_prefix if packed else _longest_first)
    grown = _packed if packed else _padded
    batch: list[EncodedSpan] = []
    size = 0
    for span in order:
        size = grown(batch, size, span)
        if batch and size > budget():
            yield _batch(batch, asked, packed)
            batch = []
            size = grown(batch, 0, span)
        batch.append(span)
    if batch:
        yield _batch(batch, asked, packed)


def _by_prefix(span: EncodedSpan) -> tuple[object, ...]:
    return span.ids, span.start


def _longest_first(span: EncodedSpan) -> tuple[object, ...]:
    # Neighbours need the least padding, and running out of memory shows at once.
    return -len(span.ids), span.ids, span.start


def _packed(batch: Sequence[EncodedSpan], size: int, span: EncodedSpan) -> int:
    """Tokens of the row with *span* at its end."""
    return size + len(span.ids) - 1 - (shared(batch[-1], span) if batch else 0)


def _padded(batch: Sequence[EncodedSpan], _size: int, span: EncodedSpan) -> int:
    """Tokens of the padded batch with *span* in it."""
    return len((batch[0] if batch else span).ids) * (len(batch) + 1)


def _batch(spans: Sequence[EncodedSpan], asked: dict[EncodedSpan, list[int]], packed: bool) -> ForwardBatch:
    return ForwardBatch(tuple(spans), tuple(tuple(asked[span]) for span in spans), packed)
