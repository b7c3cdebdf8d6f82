"""Vectors of texts: means of a model's last hidden states over target tokens."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rt_framework.builtin.students.forward import alike, kinds_end
from rt_framework.spans import EncodedSpan


class TargetMeans:
    """The means of the last hidden states of one model, in padded batches.

    Args:
        model: a causal language model of transformers, in inference mode.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kinds_end = kinds_end(model.config.get_text_config())

    def of(self, batch: Sequence[EncodedSpan]) -> list[Sequence[float]]:
        """Return the mean over the target tokens of each sequence, as float32 [width].

        Raises:
            RuntimeError: for example when memory runs out; see :func:`out_of_memory`.
        """
        means: dict[int, Sequence[float]] = {}
        with torch.inference_mode():
            for places in alike((len(span.ids) for span in batch), self._kinds_end):
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
        return [_floats(state[span.start : len(span.ids)].float().mean(0)) for state, span in rows]


def _floats(vector: torch.Tensor) -> Sequence[float]:
    return array("f", vector.cpu().numpy().tobytes())
