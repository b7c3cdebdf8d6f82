"""The look at a student of transformers before a run: device, memory, tokenizer and window. No weights are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rt_framework.builtin import models
from rt_framework.builtin.model_places import is_gguf, local_path, parameters_on_hub, tokenizer_stored, weights_path
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.weight_sizes import parameters
from rt_framework.errors import ModelError
from rt_framework.kit.tokenizing import leading_ids
from rt_framework.model import Finding

_GIB = 2**30
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def stored(settings: HFSettings) -> bool:
    """Return whether the tokenizer is on this machine."""
    return tokenizer_stored(settings.model, settings.revision)


def of_weights(settings: HFSettings, batch_tokens: int) -> Iterator[Finding]:
    """Yield the device and the dtype that will be used, and whether the weights fit.

    Raises:
        ModelError: files of the model are missing, or cut off.
    """
    import torch

    device, dtype = models.resolved_device(settings), models.resolved_dtype(settings)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.startswith("cuda") and (torch.device(device).index or 0) >= count:
        there = f"{count} CUDA devices" if count else "no CUDA device"
        yield Finding("device", f"{device} is asked for, and torch finds {there}: correct device", good=False)
        return
    spread = settings.devices is not None
    yield Finding("device", f"all {count} GPUs, {dtype}" if spread else f"{device}, {dtype}")
    number = _parameters(settings)
    room = _gpus(count) if spread else _room(device)
    if number is None or room is None:
        what = "the number of its parameters" if number is None else "the memory of this machine"
        yield Finding("memory", f"not known, since {what} is not")
        return
    yield _memory(number * _BYTES[dtype], f"{number / 1e6:,.0f} million parameters in {dtype}", room, batch_tokens)


def of_tokenizer(tokenizer: Any, window: int) -> Iterator[Finding]:
    """Yield what the tokenizer puts before every text, whether it has a chat template, and the longest sequence."""
    led = tokenizer.bos_token_id in leading_ids(tokenizer)
    yield Finding("BOS", "before every text" if led else "the tokenizer puts none before a text")
    template = "there" if tokenizer.chat_template else "none: scoring.template has to name another, such as alpaca"
    yield Finding("chat template", template)
    yield Finding("window", f"{window:,} tokens" if window < 2**40 else "no limit is stated")


def _parameters(settings: HFSettings) -> int | None:
    """Return the number of parameters, from the model's files or from the hub; ``None`` if it is not known.

    Raises:
        ModelError: there is no such model, or files of it are missing or cut off.
    """
    place = settings.model, settings.revision
    path = weights_path(*place)
    if path is None:
        return parameters_on_hub(*place)
    if is_gguf(path):
        models.parse_once()
    try:
        return parameters(settings.model, path)
    except ModelError:
        if local_path(settings.model) is not None:
            raise
        return parameters_on_hub(*place)  # the cache may have a part of the files


def _memory(size: int, what: str, room: tuple[int, int], batch_tokens: int) -> Finding:
    free, total = room
    needed = f"{size / _GIB:.2f} GiB for {what}; {free / _GIB:.1f} of {total / _GIB:.1f} GiB are free"
    if size > total:
        return Finding(
            "memory", f"{needed}: take a smaller model, dtype: bfloat16, or devices: auto over several GPUs", good=False
        )
    if size > free:
        return Finding("memory", f"{needed}: stop what else uses it", sure=False)
    return Finding(
        "memory", f"{needed}; a batch of up to {batch_tokens:,} tokens comes on top, and is halved until it fits"
    )


def _gpus(count: int) -> tuple[int, int]:
    """Return the free bytes and all bytes of all GPUs."""
    rooms = [_room(f"cuda:{number}") or (0, 0) for number in range(count)]
    return sum(free for free, _ in rooms), sum(total for _, total in rooms)


def _room(device: str) -> tuple[int, int] | None:
    """Return the free bytes and all bytes of a device; ``None`` if this machine does not tell."""
    if device.startswith("cuda"):
        import torch

        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    with suppress(OSError, ValueError):  # of a container, whose limit may be lower than the machine's memory
        limit, used = (
            int(Path("/sys/fs/cgroup", name).read_text("ascii")) for name in ("memory.max", "memory.current")
        )
        total, free = min(total, limit), min(free, limit - used)
    return free, total
