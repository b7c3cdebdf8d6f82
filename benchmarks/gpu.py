"""Scoring on a GPU, a 7B-shaped model with random bfloat16 weights: `python -m benchmarks.gpu --lengths FILE`.

FILE is a JSON list of [instruction tokens, response tokens], as `python -m benchmarks.lengths` writes it.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from attrs import frozen
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.measure import Cost, Works, alternate, machine, matrix_rate, run_batches
from rt_framework.builtin.students.attention import RunAttention
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.room import tokens_with_room
from rt_framework.scoring import ForwardBatch, plan
from rt_framework.spans import EncodedSpan

SHAPES = {
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
}
PREAMBLE = 30
"""Tokens that every prompt begins with, as the Alpaca template's do."""


@frozen
class Rate:
    """Results of one way of scoring."""

    samples: float
    """A second."""
    tokens: float
    """Fed, a second."""
    share: float
    """Of the matrix rate, in FLOP that the job needs."""


@click.command(help=__doc__)
@click.option("--lengths", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--samples", default=2000, show_default=True, help="Scored by each way of ours.")
@click.option("--published", default=200, show_default=True, help="Scored one at a time, from the same samples.")
@click.option("--budgets", default="8192,16384,32768", show_default=True, help="Tokens a batch.")
@click.option("--rounds", default=3, show_default=True, help="Times that each way runs, alternated.")
@click.option("--shape", type=click.Choice(list(SHAPES)), default="7b", show_default=True)
@click.option("--device", default="cuda", show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here.")
def main(
    lengths: Path, samples: int, published: int, budgets: str, rounds: int, shape: str, device: str, out: Path | None
) -> None:
    """Measure, print, write."""
    torch.manual_seed(0)
    model = build(shape, device)
    known = json.loads(lengths.read_text("utf-8"))
    spans = sequences([known[at % len(known)] for at in range(samples)])
    way = choose(model, None)
    sizes = [int(one) for one in budgets.split(",")]
    found = tokens_with_room(way.losses, model, 4096) if device == "cuda" else sizes[-1]
    plans = {size: list(plan(spans, partial(int, size), True)) for size in sizes}
    works: Works = {"published": partial(one_at_a_time, model, spans[: 2 * published])}
    for size, batches in plans.items():
        works[f"packed {size}"] = partial(queued, way.losses, batches)
    # As it was: the next batch is prepared when the losses of this one are there.
    works[f"waited for {sizes[-1]}"] = partial(run_batches, way.losses.sums, plans[sizes[-1]])
    # The way that was not chosen, for comparison.
    by_run = TargetLosses(model, TargetHead(model.get_output_embeddings(), model.config), RunAttention)
    works[f"by run {sizes[0]}"] = partial(run_batches, by_run.sums, plans[sizes[0]])
    times = {name: one.median for name, one in alternate(works, rounds, warm_up=True).items()}
    rate = matrix_rate(model.dtype, device, 8192 if device == "cuda" else 512)
    cost = Cost.of(model)
    figures = {name: _rate(name, took, cost, plans, spans, published, samples, rate) for name, took in times.items()}
    facts = machine(device) | {"path": way.path, "samples": samples, "tokens with room": found, "matrix rate": rate}
    report(figures, facts, out)


def build(shape: str, device: str) -> Any:
    """The model, its weights drawn on the device."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    config = LlamaConfig(vocab_size=32000, max_position_embeddings=4096, **SHAPES[shape])
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)


def sequences(lengths: list[list[int]]) -> list[EncodedSpan]:
    """Both passes of IFD for each sample, of random tokens: the response after its prompt, and alone."""
    source = random.Random(0)  # noqa: S311 - data, not secrets
    start = tuple(source.randrange(3, 32000) for _ in range(PREAMBLE))
    spans = []
    for asked, answered in lengths:
        prompt = start + tuple(source.randrange(3, 32000) for _ in range(max(asked - PREAMBLE, 1)))
        response = tuple(source.randrange(3, 32000) for _ in range(max(answered, 2)))
        spans += [EncodedSpan(prompt + response, len(prompt)), EncodedSpan(response, 1)]
    return spans


def queued(losses: TargetLosses, batches: list[ForwardBatch]) -> None:
    """All batches, of which one is queued while the one before is waited for, as two threads of a run do it."""
    under_way: deque[Callable[[], object]] = deque()
    for batch in batches:
        under_way.append(losses.begin(batch.spans))
        if len(under_way) > 1:
            under_way.popleft()()
    for results in under_way:
        results()


def one_at_a_time(model: Any, spans: list[EncodedSpan]) -> list[float]:
    """The published procedure, without its tokenising."""
    losses = []
    with torch.no_grad():
        for span in spans:
            ids = torch.tensor([span.ids], device=model.device)
            labels = ids.clone()
            labels[:, : span.start] = -100
            losses.append(float(model(ids, labels=labels).loss))
    return losses


def _rate(
    name: str,
    took: float,
    cost: Cost,
    plans: dict[int, list[ForwardBatch]],
    spans: list[EncodedSpan],
    published: int,
    samples: int,
    rate: float,
) -> Rate:
    if name == "published":
        single = [ForwardBatch((span,), (), True) for span in spans[: 2 * published]]
        fed = sum(len(span.ids) for span in spans[: 2 * published])
        return Rate(published / took, fed / took, cost.needed(single) / took / rate)
    batches = plans[int(name.split()[-1])]
    return Rate(samples / took, sum(batch.tokens for batch in batches) / took, cost.needed(batches) / took / rate)


def report(figures: dict[str, Rate], facts: dict[str, Any], out: Path | None) -> None:
    """Print a line a way, and write JSON."""
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    base = figures["published"].samples
    for name, one in figures.items():
        click.echo(
            f"{name:>16}: {one.samples:8.2f} samples/s  {one.tokens:9.0f} tokens/s  "
            f"{one.share:6.1%} of the matrix rate  {one.samples / base:5.1f} × published"
        )
    if torch.cuda.is_available():
        click.echo(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    if out is not None:
        plain = {
            name: {"samples": one.samples, "tokens": one.tokens, "share": one.share} for name, one in figures.items()
        }
        out.write_text(json.dumps({"figures": plain, "machine": facts}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
