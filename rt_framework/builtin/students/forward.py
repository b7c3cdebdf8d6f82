"""The forward pass: losses of target tokens, with the output head on the targets only, and means of hidden states."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from attrs import evolve
from numpy.typing import NDArray

from rt_framework.builtin.students import transfer
from rt_framework.builtin.students.attention import RowAttention, with_row_attention
from rt_framework.builtin.students.head import TargetHead, nll_of_logits, ranks_of_logits
from rt_framework.builtin.students.transfer import Incoming, Moved, Outgoing
from rt_framework.kit.packing import PrefixRow, target_positions
from rt_framework.spans import EncodedSpan, SpanLoss

_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")

Attention = Callable[[PrefixRow, Outgoing], RowAttention]
"""Maker of the attention of a row, whose index arrays leave for the device together with those of the row."""

Found = TypeVar("Found")

Pending = Callable[[], list[Found]]
"""Function that waits for the results of a pass that has begun, and returns one for each sequence."""


class TargetLosses:
    """Sums of negative log-likelihoods over target tokens, by one model.

    Args:
        model: a causal language model of transformers, in inference mode.
        head: the model's output head; ``None`` takes full logits from the model.
        attention: attention for packed rows; ``None`` runs padded batches.
        products: context manager in which matrix products are computed by another library.
    """

    def __init__(
        self,
        model: Any,
        head: TargetHead | None,
        attention: Attention | None,
        products: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._model = model
        self._head = head
        self._attention = attention
        self._products = products
        self._kinds_end = _kinds_end(model.config.get_text_config())

    def sums(self, batch: Sequence[EncodedSpan]) -> list[float]:
        """Return the sum of the target tokens' negative log-likelihoods of each sequence, in nats (float64).

        Raises:
            RuntimeError: for example when memory runs out; see :func:`out_of_memory`.
        """
        return [math.nan if loss.nll is None else loss.nll for loss in self.of(batch)]

    def of(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """Return the loss of each sequence, with the loss and rank of each token for sequences that ask for them.

        Raises:
            RuntimeError: for example when memory runs out; see :func:`out_of_memory`.
        """
        return self._queue(batch)()

    def begin(self, batch: Sequence[EncodedSpan]) -> Pending[SpanLoss]:
        """Queue the same on a GPU without waiting for it, and return the function that waits for the losses.

        On a CPU the losses are there when this returns.

        Raises:
            RuntimeError: for example when memory runs out; see :func:`out_of_memory`.
        """
        if self._model.device.type in transfer.QUEUED:
            return self._queue(batch)
        losses = self.of(batch)
        return lambda: losses

    def _queue(self, batch: Sequence[EncodedSpan]) -> Pending[SpanLoss]:
        with torch.inference_mode(), self._products():
            return _each_kind(batch, (len(span.ids) - 1 for span in batch), self._kinds_end, self._begin)

    def _begin(self, batch: Sequence[EncodedSpan]) -> Pending[SpanLoss]:
        states, targets, lengths = self._padded(batch) if self._attention is None else self._packed(batch)
        if any(span.by_token for span in batch):
            numbers = torch.stack(self._ranked(states, targets))
        else:
            numbers = (nll_of_logits(states, targets) if self._head is None else self._head.nll(states, targets))[None]
        incoming = Incoming(numbers)

        def losses() -> list[SpanLoss]:
            return [_loss(*one) for one in zip(batch, incoming.wait().split(lengths, -1), strict=True)]

        return losses

    def _ranked(self, states: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return loss and rank of each target, both in float64, which holds every rank exactly."""
        if self._head is None:
            return nll_of_logits(states, targets), ranks_of_logits(states, targets).double()
        nll, ranks = self._head.nll_and_ranks(states, targets)
        return nll, ranks.double()

    def _packed(self, batch: Sequence[EncodedSpan]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Return the predicting states [targets × width], the targets [targets], and the target count per sequence."""
        assert self._attention is not None
        row = PrefixRow.of(batch)
        predicting, wanted, lengths = row.predicting(batch)
        outgoing = Outgoing()
        ids, positions = outgoing.add(row.ids[None]), outgoing.add(row.positions[None])
        nodes, targets = outgoing.add(predicting), outgoing.add(wanted)
        attention = self._attention(row, outgoing)
        outgoing.send(self._model.device)
        with with_row_attention(self._model, attention):
            states = self._states(ids, position_ids=positions)
        return states[0, nodes.on(states.device)], targets.on(states.device), lengths

    def _padded(self, batch: Sequence[EncodedSpan]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Return the same as :meth:`_packed`, computed from one padded batch."""
        positions = [target_positions(span) for span in batch]
        lengths = [len(part) for part in positions]
        outgoing = Outgoing()
        ids = outgoing.add(_side_by_side([span.ids[:-1] for span in batch]))
        rows = outgoing.add(np.repeat(np.arange(len(batch)), lengths))
        columns = outgoing.add(np.concatenate(positions) - 1)
        targets = outgoing.add(np.concatenate([span.ids[start:end] for span in batch for start, end in span.ranges]))
        outgoing.send(self._model.device)
        states = self._states(ids)
        where = states.device
        return states[rows.on(where), columns.on(where)], targets.on(where), lengths

    def _states(self, ids: Moved, **options: Moved) -> torch.Tensor:
        """Return hidden states [sequences × tokens × width], or logits where the head cannot be split off."""
        device = self._model.device
        fed = {name: values.on(device) for name, values in options.items()}
        if self._head is not None:
            states = self._model.base_model(ids.on(device), use_cache=False, **fed).last_hidden_state
            # Of a model on several devices the head may be on another one than the last layer.
            return states.to(self._head.device)
        return self._model(ids.on(device), use_cache=False, **fed).logits


class TargetMeans:
    """The means of the last hidden states of one model, in padded batches.

    Args:
        model: a causal language model of transformers, in inference mode.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kinds_end = _kinds_end(model.config.get_text_config())

    def begin(self, batch: Sequence[EncodedSpan]) -> Pending[Sequence[float]]:
        """Queue the pass, and return the function that waits for the means.

        The mean of a sequence is over its target tokens, as float32 [width].

        Raises:
            RuntimeError: for example when memory runs out; see :func:`out_of_memory`.
        """
        with torch.inference_mode():
            return _each_kind(batch, (len(span.ids) for span in batch), self._kinds_end, self._begin)

    def _begin(self, batch: Sequence[EncodedSpan]) -> Pending[Sequence[float]]:
        positions = [target_positions(span) for span in batch]
        outgoing = Outgoing()
        ids = outgoing.add(_side_by_side([span.ids for span in batch]))
        targets = outgoing.add(np.concatenate(positions))
        outgoing.send(self._model.device)
        states = self._model.base_model(ids.on(self._model.device), use_cache=False).last_hidden_state
        parts = targets.on(states.device).split([len(part) for part in positions])
        incoming = Incoming(
            torch.stack([state[part].float().mean(0) for state, part in zip(states, parts, strict=True)])
        )
        return lambda: [array("f", vector.numpy().tobytes()) for vector in incoming.wait()]


def _side_by_side(sequences: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return a padded batch, [sequences × tokens]."""
    # No mask is needed: padding is on the right and attention is causal, so that no token sees any padding,
    # whatever its id.
    ids = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return ids


def _loss(span: EncodedSpan, numbers: torch.Tensor) -> SpanLoss:
    """Return the loss of a sequence, from the losses of its targets and, by token, their ranks."""
    loss = SpanLoss(float(numbers[0].sum()), numbers.shape[-1])
    if not span.by_token:
        return loss
    return evolve(loss, token_nll=tuple(numbers[0].tolist()), token_ranks=tuple(numbers[1].long().tolist()))


def _each_kind(
    batch: Sequence[EncodedSpan],
    lengths: Iterable[int],
    end: float,
    begin: Callable[[Sequence[EncodedSpan]], Pending[Found]],
) -> Pending[Found]:
    """Begin a pass for each kind of sequences, and return the function that waits for all results, in order."""
    begun = [(places, begin([batch[place] for place in places])) for places in _alike(lengths, end)]

    def results() -> list[Found]:
        found: dict[int, Found] = {}
        for places, pending in begun:
            found |= zip(places, pending(), strict=True)
        return [found[place] for place in range(len(batch))]

    return results


def _alike(lengths: Iterable[int], end: float) -> Iterator[list[int]]:
    """Yield the positions of sequences that the model treats alike.

    A model with LongRoPE encodes positions in another way as soon as one sequence of the batch is long, which would
    change the results of the short ones.

    Args:
        lengths: number of tokens that the model reads of each sequence.
        end: most tokens of a short sequence.
    """
    long = [length > end for length in lengths]
    for kind in (False, True):
        if kind in long:
            yield [place for place, other in enumerate(long) if other is kind]


def _kinds_end(config: Any) -> float:
    """Return the most tokens that the model reads before it changes its position encoding (LongRoPE); else infinity."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(parameters for parameters in rope.values() if isinstance(parameters, dict))]
    ends = [
        parameters.get("original_max_position_embeddings")
        for parameters in kinds
        if parameters.get("rope_type") == "longrope"
    ]
    return min((end for end in ends if end), default=math.inf)


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether *error* says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _MEMORY)


def free_memory() -> None:
    """Give the allocator's cached blocks back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
