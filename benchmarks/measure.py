"""Measurements: seconds of tasks that take turns, the machine's matrix rate, the work that a job needs, memory."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from attrs import field, frozen

from rt_framework.kit.packing import PrefixRow
from rt_framework.scoring import ForwardBatch
from rt_framework.spans import EncodedSpan

Works = dict[str, Callable[[], Any]]
"""The functions that are timed, by name."""


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that *work* takes, and its result."""
    gc.collect()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@frozen
class Rounds:
    """Seconds and results of one task, one for each round."""

    seconds: list[float] = field(factory=list)
    results: list[Any] = field(factory=list)

    @property
    def median(self) -> float:
        """The middle of the seconds."""
        return statistics.median(self.seconds)


def alternate(works: Works, rounds: int, warm_up: bool = False) -> dict[str, Rounds]:
    """Time each work by its name. They take turns, so that a slow minute of the machine meets all of them.

    Args:
        works: what to run, in this order.
        rounds: times that each runs.
        warm_up: a round before the first does not count.
    """
    found = {name: Rounds() for name in works}
    for turn in range(0 if warm_up else 1, rounds + 1):
        for name, work in works.items():
            took, result = seconds(work)
            click.echo(f"round {turn} of {rounds}: {name} {took:.1f} s", err=True)
            if turn:
                found[name].seconds.append(took)
                found[name].results.append(result)
    return found


def run_batches(score: Callable[[Sequence[EncodedSpan]], object], batches: Iterable[ForwardBatch]) -> None:
    """All batches, one after the other."""
    for batch in batches:
        score(batch.spans)


def show_ratios(found: Mapping[str, Rounds], facts: Mapping[str, Any]) -> None:
    """Print where this was measured, and how many times as fast as the first work each was."""
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    base = next(iter(found.values())).median
    for name, one in found.items():
        click.echo(f"{base / one.median:6.2f} × {name}")


def matrix_rate(
    dtype: torch.dtype, device: str, size: int = 2048, rounds: int = 9, product: Callable[..., Any] = torch.mm
) -> float:
    """FLOP/s of a square matrix product: the median of some rounds."""
    left, right = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    times = []
    for _ in range(rounds):
        _wait(device)
        start = time.perf_counter()
        product(left, right)
        _wait(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times)


@frozen
class Cost:
    """FLOP that a model needs for a token."""

    body: float
    """Of each token that is fed, attention apart."""
    attention: float
    """Of each pair of a token and one that it attends to."""
    head: float
    """Of each target."""

    @classmethod
    def of(cls, model: Any) -> Cost:
        """Count the model's matrix products, two FLOP for a multiplication and an addition."""
        config = model.config.get_text_config()
        head = model.get_output_embeddings().weight
        weights = sum(m.weight.numel() for m in model.base_model.modules() if isinstance(m, torch.nn.Linear))
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            2.0 * weights, 4.0 * config.num_hidden_layers * config.num_attention_heads * width, 2.0 * head.numel()
        )

    def needed(self, batches: Sequence[ForwardBatch]) -> float:
        """FLOP that packed batches need: shared prefixes once, no padding, the head on targets only."""
        total = 0.0
        for batch in batches:
            row = PrefixRow.of(batch.spans)
            targets = sum(len(span.ids) - span.start for span in batch.spans)
            attended = float(np.sum(row.positions + 1))
            total += self.body * len(row.ids) + self.attention * attended + self.head * targets
        return total


def loaded_memory() -> int:
    """Bytes that the process holds; from here on :func:`peak_memory` counts anew."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_memory() -> int:
    """Most bytes that the process has held since :func:`loaded_memory`."""
    return _status("VmHWM")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def machine(device: str) -> dict[str, Any]:
    """Return the machine and the versions of this measurement."""
    packages = ("rt-framework", "torch", "transformers", "numpy")
    facts: dict[str, Any] = {name: metadata.version(name) for name in packages}
    facts |= {
        "python": platform.python_version(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    return facts | ({"gpu": torch.cuda.get_device_name(0)} if device == "cuda" else {})


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def ranks(values: Sequence[float]) -> np.ndarray:
    """Rank of each value."""
    return np.argsort(np.argsort(np.asarray(values), kind="stable"), kind="stable")


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's ρ."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
