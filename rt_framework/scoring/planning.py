"""Planning of batches from encoded spans: drop duplicates, sort, fill.

The functions are pure and use neither torch nor the ledger. The student is given batches and does not know how they
were put together. A batch is run either as padded sequences or as one packed row (:mod:`rt_framework.kit.packing`); how
many sequences fit differs between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from attrs import frozen

from rt_framework.spans import EncodedSpan, shared


@frozen
class ForwardBatch:
    """Distinct sequences for one forward pass, and for each the spans that it answers."""

    spans: tuple[EncodedSpan, ...]
    positions: tuple[tuple[int, ...], ...]
    """Per sequence: where its equal spans are in the list that was planned."""
    packed: bool
    """True if the sequences form one packed row, sorted so that neighbours share the longest prefixes."""

    @property
    def tokens(self) -> int:
        """Number of tokens that the forward pass is fed, without padding.

        The last token of each sequence is not fed, since it predicts nothing; in a packed row a prefix shared with the
        previous sequence counts once.
        """
        fed = sum(len(span.ids) - 1 for span in self.spans)
        return fed - sum(shared(*both) for both in pairwise(self.spans)) if self.packed else fed

    @property
    def size(self) -> int:
        """Number of tokens that count against the budget: :attr:`tokens` in a packed row, else with padding."""
        return self.tokens if self.packed else max(len(span.ids) for span in self.spans) * len(self.spans)

    def halves(self) -> tuple[ForwardBatch, ForwardBatch]:
        """Return the batch split in two, for when it does not fit into the device's memory."""
        middle = len(self.spans) // 2
        return (
            ForwardBatch(self.spans[:middle], self.positions[:middle], self.packed),
            ForwardBatch(self.spans[middle:], self.positions[middle:], self.packed),
        )


def plan(spans: Sequence[EncodedSpan], budget: Callable[[], int], packed: bool) -> Iterator[ForwardBatch]:
    """Yield batches that together cover *spans*.

    Args:
        spans: the spans to score; equal ones are computed once.
        budget: returns the most tokens of a batch. It is called anew for each batch, since a device may turn out to
            have room for fewer. Each padded sequence counts as many tokens as the longest one; a packed sequence counts
            the tokens that it does not share with the one before. A single longer sequence is a batch of its own.
        packed: True for one packed row a batch, False for padded sequences.
    """
    positions: dict[EncodedSpan, list[int]] = {}
    for position, span in enumerate(spans):
        positions.setdefault(span, []).append(position)
    # Ties are broken by content, so that batches do not depend on the order of arrival.
    order = sorted(positions, key=_by_prefix if packed else _longest_first)
    grown = _packed if packed else _padded
    batch: list[EncodedSpan] = []
    size = 0
    for span in order:
        size = grown(batch, size, span)
        if batch and size > budget():
            yield _batch(batch, positions, packed)
            batch = []
            size = grown(batch, 0, span)
        batch.append(span)
    if batch:
        yield _batch(batch, positions, packed)


def _by_prefix(span: EncodedSpan) -> tuple[object, ...]:
    # Sorted by token ids, sequences that share a prefix become neighbours.
    return span.ids, span.start, span.ranges


def _longest_first(span: EncodedSpan) -> tuple[object, ...]:
    # Neighbours of similar length need the least padding, and the longest ones come first so that a lack of memory
    # shows at once.
    return -len(span.ids), span.ids, span.start, span.ranges


def _packed(batch: Sequence[EncodedSpan], size: int, span: EncodedSpan) -> int:
    """Return the number of tokens of the packed row with *span* added at its end."""
    return size + len(span.ids) - 1 - (shared(batch[-1], span) if batch else 0)


def _padded(batch: Sequence[EncodedSpan], _size: int, span: EncodedSpan) -> int:
    """Return the number of tokens of the padded batch with *span* added."""
    # The first sequence is the longest one, since the spans come longest first.
    return len((batch[0] if batch else span).ids) * (len(batch) + 1)


def _batch(spans: Sequence[EncodedSpan], positions: dict[EncodedSpan, list[int]], packed: bool) -> ForwardBatch:
    return ForwardBatch(tuple(spans), tuple(tuple(positions[span]) for span in spans), packed)
