"""The forward pass: losses of target tokens, with the output head on the targets only, and means of hidden states."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from attrs import evolve

from rt_framework.builtin.students.attention import RowAttention, with_row_attention
from rt_framework.builtin.students.head import TargetHead, nll_of_logits, ranks_of_logits
from rt_framework.kit.packing import PrefixRow, target_positions
from rt_framework.spans import EncodedSpan, SpanLoss

_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")

Attention = Callable[[PrefixRow, torch.device], RowAttention]


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
        losses: dict[int, SpanLoss] = {}
        with torch.inference_mode(), self._products():
            for places in _alike((len(span.ids) - 1 for span in batch), self._kinds_end):
                losses |= zip(places, self._of([batch[place] for place in places]), strict=True)
        return [losses[place] for place in range(len(batch))]

    def _of(self, batch: Sequence[EncodedSpan]) -> Iterator[SpanLoss]:
        states, targets, lengths = self._padded(batch) if self._attention is None else self._packed(batch)
        if not any(span.by_token for span in batch):
            nll = nll_of_logits(states, targets) if self._head is None else self._head.nll(states, targets)
            return (SpanLoss(float(part.sum()), len(part)) for part in nll.cpu().split(lengths))
        nll, ranks = self._ranked(states, targets)
        parts = zip(batch, nll.cpu().split(lengths), ranks.cpu().split(lengths), strict=True)
        return (_loss(span, *part) for span, *part in parts)

    def _ranked(self, states: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return loss and rank of each target."""
        if self._head is None:
            return nll_of_logits(states, targets), ranks_of_logits(states, targets)
        return self._head.nll_and_ranks(states, targets)

    def _packed(self, batch: Sequence[EncodedSpan]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Return the predicting states [targets × width], the targets [targets], and the target count per sequence."""
        assert self._attention is not None
        row = PrefixRow.of(batch)
        nodes, targets, lengths = row.predicting(batch)
        with with_row_attention(self._model, self._attention(row, self._model.device)):
            states = self._states(self._tensor(row.ids)[None], position_ids=self._tensor(row.positions)[None])
        return states[0, _on(states, nodes)], _on(states, targets), lengths

    def _padded(self, batch: Sequence[EncodedSpan]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
        """Return the same as :meth:`_packed`, computed from one padded batch."""
        # No mask is needed: padding is on the right and attention is causal, so that no token sees any padding,
        # whatever its id.
        ids = np.zeros((len(batch), max(len(span.ids) for span in batch) - 1), dtype=np.int64)
        for row, span in enumerate(batch):
            ids[row, : len(span.ids) - 1] = span.ids[:-1]
        positions = [target_positions(span) for span in batch]
        lengths = [len(part) for part in positions]
        rows = np.repeat(np.arange(len(batch)), lengths)
        columns = np.concatenate(positions) - 1
        targets = np.concatenate([span.ids[start:end] for span in batch for start, end in span.ranges])
        states = self._states(self._tensor(ids))
        return states[_on(states, rows), _on(states, columns)], _on(states, targets), lengths

    def _states(self, ids: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        """Return hidden states [sequences × tokens × width], or logits where the head cannot be split off."""
        if self._head is not None:
            states = self._model.base_model(ids, use_cache=False, **options).last_hidden_state
            # Of a model on several devices the head may be on another one than the last layer.
            return states.to(self._head.device)
        return self._model(ids, use_cache=False, **options).logits

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._model.device)


def _on(states: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).to(states.device)


class TargetMeans:
    """The means of the last hidden states of one model, in padded batches.

    Args:
        model: a causal language model of transformers, in inference mode.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kinds_end = _kinds_end(model.config.get_text_config())

    def of(self, batch: Sequence[EncodedSpan]) -> list[Sequence[float]]:
        """Return the mean over the target tokens of each sequence, as float32 [width].

        Raises:
            RuntimeError: for example when memory runs out; see :func:`out_of_memory`.
        """
        means: dict[int, Sequence[float]] = {}
        with torch.inference_mode():
            for places in _alike((len(span.ids) for span in batch), self._kinds_end):
                means |= zip(places, self._of([batch[place] for place in places]), strict=True)
        return [means[place] for place in range(len(batch))]

    def _of(self, batch: Sequence[EncodedSpan]) -> list[Sequence[float]]:
        # No mask is needed: padding is on the right and attention is causal.
        ids = np.zeros((len(batch), max(len(span.ids) for span in batch)), dtype=np.int64)
        for row, span in enumerate(batch):
            ids[row, : len(span.ids)] = span.ids
        fed = torch.from_numpy(ids).to(self._model.device)
        states = self._model.base_model(fed, use_cache=False).last_hidden_state
        rows = zip(states, batch, strict=True)
        return [_floats(state[torch.from_numpy(target_positions(span))].float().mean(0)) for state, span in rows]


def _loss(span: EncodedSpan, nll: torch.Tensor, ranks: torch.Tensor) -> SpanLoss:
    loss = SpanLoss(float(nll.sum()), len(nll))
    return evolve(loss, token_nll=tuple(nll.tolist()), token_ranks=tuple(ranks.tolist())) if span.by_token else loss


def _floats(vector: torch.Tensor) -> Sequence[float]:
    return array("f", vector.cpu().numpy().tobytes())


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
