"""The size of a batch on a GPU, by the memory that the weights leave.

How much a token takes depends on the architecture, on how its losses are computed and on the number format, so it is
measured: two batches are run when the model is loaded, and what they take at their peak grows with the tokens. The
losses do not depend on the size beyond the noise of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rt_framework.builtin.students import transfer
from rt_framework.builtin.students.forward import TargetLosses, free_memory, out_of_memory
from rt_framework.spans import EncodedSpan

MOST = 32768
"""Most tokens of a batch. With more of them the matrix products are not faster, and a lack of memory, a stop or the end
of the work costs more."""

LEAST = 1024
"""Fewest tokens of a batch that is planned. One that does not fit after all is halved."""

PROBES = 1024, 4096
"""Tokens of the batches that are measured. In the smaller one a block of logits has its full size already."""

_LENGTH = 512
"""Tokens of a sequence of them."""

_SHARE = 0.7
"""Share of the free memory that a batch may take by the measurement. A row whose sequences share long beginnings takes
more, since flash attention reads the keys of each sequence gathered; and memory is never without gaps."""


def tokens_with_room(losses: TargetLosses, model: Any, window: int) -> int:
    """Return the most tokens of a batch on the GPU or the GPUs of a model.

    Args:
        losses: the way in which its losses are computed.
        model: the model.
        window: its longest sequence in tokens.
    """
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type in transfer.QUEUED}
    few: dict[torch.device, int] = {}
    try:
        few, many = (_peaks(losses, devices, sample(model, tokens, window)) for tokens in PROBES)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
    free_memory()
    if not few:
        return LEAST
    return min(tokens_within(torch.cuda.mem_get_info(one)[0], few[one], many[one]) for one in devices)


def tokens_within(free: int, few: int, many: int) -> int:
    """Return the most tokens of a batch, from the free bytes and the bytes that each batch of ``PROBES`` took."""
    a_token = max(1.0, (many - few) / (PROBES[1] - PROBES[0]))
    fixed = max(0.0, few - a_token * PROBES[0])
    return max(LEAST, min(MOST, int((free * _SHARE - fixed) / a_token)))


def sample(model: Any, tokens: int, window: int) -> list[EncodedSpan]:
    """Return a batch of so many tokens, of which each is a target, in sequences that share nothing."""
    vocabulary = model.config.get_text_config().vocab_size
    length = min(_LENGTH, window)
    return [
        EncodedSpan(tuple((first + 7 * place) % vocabulary for place in range(length)), 1)
        for first in range(max(1, tokens // length))
    ]


def _peaks(losses: TargetLosses, devices: set[torch.device], batch: Sequence[EncodedSpan]) -> dict[torch.device, int]:
    """Return the most bytes of each device that a batch takes."""
    before = {one: torch.cuda.memory_allocated(one) for one in devices}
    for one in devices:
        torch.cuda.reset_peak_memory_stats(one)
    losses.of(batch)
    return {one: torch.cuda.max_memory_allocated(one) - before[one] for one in devices}
