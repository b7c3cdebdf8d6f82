"""The forward pass: losses of target tokens, with the head applied to the targets only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rt_framework.model import EncodedSpan

LOGITS_BYTES = 256 * 2**20
"""Most bytes of one block of logits in float32."""

_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


class TargetLosses:
    """Sums of negative log-likelihoods over target tokens, by one model.

    The head is applied to the hidden states that predict a target and to no other. Heads differ: the
    short cut is taken only where it gives the model's own logits on a probe, else ``path`` says why not.

    Args:
        model: a causal language model of transformers, in inference mode.
    """

    path: str
    """``head on targets``, or ``full logits`` and the reason."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._config = model.config.get_text_config()
        self._head = model.get_output_embeddings()
        with torch.inference_mode():
            obstacle = self._obstacle()
        self._split = obstacle is None
        self.path = "head on targets" if obstacle is None else f"full logits: {obstacle}"

    def sums(self, batch: Sequence[EncodedSpan]) -> list[float]:
        """Sum of the target tokens' negative log-likelihoods of each sequence, in nats (float64).

        Raises:
            RuntimeError: among others when memory runs out; see :func:`out_of_memory`.
        """
        if not batch:
            return []
        with torch.inference_mode():
            ids, mask = self._padded(batch)
            rows, columns, targets = self._targets(batch)
            features = self._features(ids, mask)[rows, columns]
            nll = self._nll(features, targets).double().cpu()
            parts = nll.split([len(span.ids) - span.start for span in batch])
            return [float(part.sum()) for part in parts]

    def _padded(self, batch: Sequence[EncodedSpan]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, [sequences × tokens]. The last token of a sequence predicts nothing and is not fed."""
        # Padding is on the right and attention is causal: no token sees any, whatever its id is.
        lengths = [len(span.ids) - 1 for span in batch]
        ids = torch.zeros(len(batch), max(lengths), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, (span, length) in enumerate(zip(batch, lengths, strict=True)):
            ids[row, :length] = torch.tensor(span.ids[:-1])
            mask[row, :length] = 1
        return ids.to(self._model.device), mask.to(self._model.device)

    def _targets(self, batch: Sequence[EncodedSpan]) -> torch.Tensor:
        """Row and column of each predicting position, and the token predicted, [3 × targets]."""
        flat = [
            (row, position - 1, span.ids[position])
            for row, span in enumerate(batch)
            for position in range(span.start, len(span.ids))
        ]
        return torch.tensor(flat).T.to(self._model.device)

    def _features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden states [sequences × tokens × width], or logits where the head cannot be split off."""
        if self._split:
            return self._model.base_model(ids, attention_mask=mask, use_cache=False).last_hidden_state
        return self._model(ids, attention_mask=mask, use_cache=False).logits

    def _nll(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of each target, [targets] in float32."""
        rows = max(1, LOGITS_BYTES // (4 * self._config.vocab_size))
        blocks = zip(features.split(rows), targets.split(rows), strict=True)
        return torch.cat([self._block(part, wanted) for part, wanted in blocks])

    def _block(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = self._logits(features) if self._split else features.float()
        return logits.logsumexp(-1) - logits.gather(-1, targets[:, None])[:, 0]

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The head with the scalings that model families add to it, in float32."""
        logits = self._head(hidden).float()
        logits = logits * getattr(self._config, "logit_scale", 1.0) / getattr(self._config, "logits_scaling", 1.0)
        cap = getattr(self._config, "final_logit_softcapping", None)
        return torch.tanh(logits / cap) * cap if cap else logits

    def _obstacle(self) -> str | None:
        """Why body and head apart do not give the model's own logits; none if they do."""
        ids = (torch.arange(12, device=self._model.device)[None] * 97 + 3) % self._config.vocab_size
        own = self._model(ids, use_cache=False).logits.float()
        try:
            ours = self._logits(self._model.base_model(ids, use_cache=False).last_hidden_state)
            gap = float((own - ours).abs().max())
        except Exception as error:
            return f"body and head do not run apart ({type(error).__name__})"
        tolerance = 1e-4 if own.dtype == self._model.dtype else 2e-2
        if gap <= tolerance * max(1.0, float(own.abs().max())):
            return None
        return f"head and body apart differ from the model by {gap:.2g}"


def out_of_memory(error: RuntimeError) -> bool:
    """Whether *error* says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in _MEMORY)


def free_memory() -> None:
    """Give the allocator's cached blocks back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
