"""The size of a batch on a GPU, by the memory that the weights leave.

How much a token takes depends on the architecture, on how its losses are computed and on the number format, so it is
measured: when the model is loaded, batches of twice the size each are run until one fills half of the room. The losses
do not depend on the size beyond the noise of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_PROBED = 8192
"""Tokens of the largest batch that is measured. What a token takes falls with the size, and hardly beyond it."""

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
    free_memory()
    rooms = {one: _SHARE * torch.cuda.mem_get_info(one)[0] for one in devices}
    tokens = LEAST
    try:
        while (filled := _filled(losses, rooms, sample(model, tokens, window))) <= 0.5 and tokens < _PROBED:
            tokens *= 2
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return LEAST
    finally:
        free_memory()
    return max(LEAST, min(MOST, int(tokens / filled)))


def sample(model: Any, tokens: int, window: int) -> list[EncodedSpan]:
    """Return a batch of so many tokens, of which each is a target, in sequences that share nothing."""
    vocabulary = model.config.get_text_config().vocab_size
    length = min(_LENGTH, window)
    return [
        EncodedSpan(tuple((first + 7 * place) % vocabulary for place in range(length)), 1)
        for first in range(max(1, tokens // length))
    ]


def _filled(losses: TargetLosses, rooms: Mapping[torch.device, float], batch: Sequence[EncodedSpan]) -> float:
    """Return the share of the room that a batch takes at its peak, of the device that it fills most."""
    before = {one: torch.cuda.memory_allocated(one) for one in rooms}
    for one in rooms:
        torch.cuda.reset_peak_memory_stats(one)
    losses.of(batch)
    return float(max((torch.cuda.max_memory_allocated(one) - before[one]) / max(rooms[one], 1.0) for one in rooms))
