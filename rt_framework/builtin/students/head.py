"""The output head: from hidden states to losses of target tokens, without a full [tokens × vocabulary] matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import cross_entropy, linear

LOGITS_BYTES = {"cpu": 8 * 2**20, "cuda": 2**28}
"""Most bytes of one block of logits in float32, by device: on a CPU as many as fit into its cache, on a GPU enough to
keep it busy."""

_ROWS = 4096
"""Most hidden states of one block. The head's weights are read once per block."""


class TargetHead:
    """The output head, applied to the hidden states that predict a target.

    Args:
        head: a linear layer from hidden states to the vocabulary.
        config: the text configuration, for the scalings that model families add behind the head.
    """

    def __init__(self, head: torch.nn.Linear, config: Any) -> None:
        self._head = head
        self._scale = getattr(config, "logit_scale", None) or 1.0
        self._scale /= getattr(config, "logits_scaling", None) or 1.0
        self._cap = getattr(config, "final_logit_softcapping", None)

    @property
    def device(self) -> torch.device:
        """Device of the head's weights."""
        return self._head.weight.device

    def nll(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of each target in nats, [targets] in float64, on the device of *hidden*.

        Args:
            hidden: states that predict, [targets × width].
            targets: the tokens predicted, [targets].
        """
        return torch.cat([self._block(*part)[0] for part in _parts(hidden, targets)])

    def nll_and_ranks(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the result of :meth:`nll`, and the rank of each target in the vocabulary, [targets].

        The rank is one more than the number of likelier tokens. The head is applied twice, because the likelier tokens
        can be counted only once the target's own logit is known.
        """
        parts = [self._ranked(*part) for part in _parts(hidden, targets)]
        return torch.cat([nll for nll, _ in parts]), torch.cat([ranks for _, ranks in parts])

    def _ranked(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nll, target_logits = self._block(hidden, targets)
        ranks = torch.ones_like(targets)
        for _, logits in self._blocks(hidden, len(targets)):
            ranks += (logits > target_logits[:, None]).sum(-1)
        return nll, ranks

    def _block(self, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the losses and the targets' own logits, by a running log-sum-exp over blocks of the vocabulary."""
        total = torch.full(targets.shape, -torch.inf, dtype=torch.float64, device=hidden.device)
        target_logits = torch.zeros_like(total)
        for start, logits in self._blocks(hidden, len(targets)):
            place = targets - start
            inside = (place >= 0) & (place < logits.shape[-1])
            gathered = logits.gather(-1, place.clamp(0, logits.shape[-1] - 1)[:, None])[:, 0]
            target_logits = torch.where(inside, gathered.double(), target_logits)
            # In place, because allocating a second block of this size would cost more than the arithmetic.
            most = logits.amax(-1)
            mass = logits.sub_(most[:, None]).exp_().sum(-1)
            total = torch.logaddexp(total, most.double() + mass.double().log())
        return total - target_logits, target_logits

    def _blocks(self, hidden: torch.Tensor, rows: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the logits of each block of the vocabulary, [targets × block], and the id of its first token."""
        columns = max(1, _bytes(hidden) // (4 * rows))
        for start in range(0, self._head.weight.shape[0], columns):
            yield start, self._logits(hidden, slice(start, start + columns))

    def _logits(self, hidden: torch.Tensor, block: slice) -> torch.Tensor:
        """Return the logits of a block of the vocabulary, scaled as the model scales them, in float32."""
        bias = None if self._head.bias is None else self._head.bias[block]
        logits = linear(hidden, self._head.weight[block], bias).float()
        if self._scale != 1.0:
            logits.mul_(self._scale)
        return logits.div_(self._cap).tanh_().mul_(self._cap) if self._cap else logits


def nll_of_logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the negative log-likelihood of each target in nats, from full logits, [targets × vocabulary].

    The logits are processed a block of rows at a time.
    """
    parts = _parts(logits, targets, max(1, _bytes(logits) // (4 * logits.shape[-1])))
    return torch.cat([cross_entropy(part.float(), wanted, reduction="none") for part, wanted in parts]).double()


def ranks_of_logits(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the rank of each target, 1 for the likeliest, [targets], from full logits."""
    parts = _parts(logits, targets, max(1, _bytes(logits) // (4 * logits.shape[-1])))
    return torch.cat([1 + (part > part.gather(-1, wanted[:, None])).sum(-1) for part, wanted in parts])


def _parts(
    states: torch.Tensor, targets: torch.Tensor, rows: int = _ROWS
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return zip(states.split(rows), targets.split(rows), strict=True)


def _bytes(states: torch.Tensor) -> int:
    return LOGITS_BYTES.get(states.device.type, LOGITS_BYTES["cuda"])
