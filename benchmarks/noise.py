"""Noise of half precision, emulated on the CPU: `python -m benchmarks.noise --data FILE --model MODEL`.

A model in bfloat16 rounds each activation to 8 significant bits, on a CPU as on a GPU. The order in which a product is
added up decides what is rounded up and what down. On a CPU that order is the same for every batch; a GPU chooses it by
the shape of the batch. So each loss is computed one sequence at a time, in batches of several sizes, with every product
added up in another order, and in float32.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from benchmarks.jobs import Published, all_spans, pair_of
from benchmarks.measure import machine, rank_correlation
from rt_framework.builtin import models
from rt_framework.builtin.students.attention import RunAttention
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.settings import Dtype, HFSettings
from rt_framework.model import Pair
from rt_framework.scoring import plan
from rt_framework.spans import EncodedSpan

FULL: Dtype = "float32"


class InParts(TorchFunctionMode):  # type: ignore[misc]
    """Context manager within which every product is the sum of two halves, each added up in float32."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace ``linear``, and pass every other torch function on."""
        return _in_parts(*args, **kwargs or {}) if func is linear else func(*args, **kwargs or {})


def _in_parts(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    half = weight.shape[1] // 2
    parts = (slice(None, half), slice(half, None))
    total = sum(linear(states[..., part].float(), weight[:, part].float()) for part in parts)
    return (total if bias is None else total + bias.float()).to(states.dtype)


Sums = Callable[[Sequence[EncodedSpan]], list[float]]


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Hub id, directory or .gguf file.")
@click.option("--rows", default=32, show_default=True, help="The first so many rows.")
@click.option("--dtype", type=click.Choice(["bfloat16", "float16"]), default="bfloat16", show_default=True)
@click.option("--budgets", default="256,1024,4096", show_default=True, help="Tokens a batch.")
def main(data: Path, model: str, rows: int, dtype: Dtype, budgets: str) -> None:
    """Measure and print."""
    half, exact = (HFStudent(HFSettings(model, dtype=one, device="cpu")) for one in (dtype, FULL))
    pairs = [pair_of(row) for row in json.loads(data.read_text("utf-8"))]
    spans = all_spans([pair for pair in pairs[:rows] if _whole(half, pair)])
    encoded = [one for one in half.encode(spans) if isinstance(one, EncodedSpan)]
    loaded = models.load_model(HFSettings(model, dtype=dtype, device="cpu"))
    way = choose(loaded, None).losses.sums
    sizes = [int(one) for one in budgets.split(",")]
    alone = means(way, encoded, 1)
    found = {f"packed, {size} tokens a batch": means(way, encoded, size) for size in sizes}
    head = TargetHead(loaded.get_output_embeddings(), loaded.config)
    padded, parted = TargetLosses(loaded, head, None), TargetLosses(loaded, head, RunAttention, InParts)
    found[f"padded, {sizes[-1]} tokens a batch"] = means(padded.sums, encoded, sizes[-1], packed=False)
    found[f"products in another order, {sizes[-1]} tokens a batch"] = means(parted.sums, encoded, sizes[-1])
    published = np.array(Published(loaded, models.load_tokenizer(HFSettings(model)), spans)())
    full = choose(models.load_model(HFSettings(model, dtype=FULL, device="cpu")), None).losses.sums
    facts = machine("cpu") | {"model": Path(model).name, "rows": rows, "losses": len(encoded), "path": exact.path}
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    click.echo(f"--- {dtype}, by what a loss is computed beside, against one sequence at a time")
    for name, losses in found.items():
        show(name, losses, alone)
    show("published procedure", published, alone)
    click.echo(f"--- {dtype}, one at a time, against float32, one at a time")
    show("same way", alone, means(full, encoded, 1))


def _whole(student: HFStudent, pair: Pair) -> bool:
    """Return whether every span of the pair has tokens to score."""
    return all(isinstance(one, EncodedSpan) for one in student.encode(all_spans([pair])))


def means(sums: Sums, spans: Sequence[EncodedSpan], budget: int, packed: bool = True) -> np.ndarray:
    """Mean loss of each sequence."""
    found: dict[EncodedSpan, float] = {}
    for batch in plan(spans, partial(int, budget), packed):
        for span, nll in zip(batch.spans, sums(batch.spans), strict=True):
            found[span] = nll / len(span.positions)
    return np.array([found[span] for span in spans])


def show(name: str, losses: np.ndarray, base: np.ndarray) -> None:
    """Print how far losses and the scores made of them are from *base*."""
    gaps = np.abs(losses - base)
    click.echo(f"{name}: nats a token: {spread(gaps)}")
    for metric, ours, theirs in zip(("IFD", "r-IFD"), ratios(losses), ratios(base), strict=True):
        relative = np.abs(ours / theirs - 1)
        flips = int(np.sum((ours < 1) != (theirs < 1)))
        correlation = rank_correlation(list(ours), list(theirs))
        click.echo(
            f"    {metric}, relative: {spread(relative)}; rank correlation {correlation:.4f}; {flips} flips at 1"
        )


def ratios(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return IFD and r-IFD of each row, from the losses of :func:`benchmarks.jobs.all_spans`."""
    pairs = np.exp(losses[0::2] - losses[1::2])
    return pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]


def spread(values: Any) -> str:
    """Return the quantiles in words."""
    middle, high, top = np.quantile(values, [0.5, 0.95, 1])
    return f"median {middle:.1e}, 95 % within {high:.1e}, largest {top:.1e}"


if __name__ == "__main__":
    main()
