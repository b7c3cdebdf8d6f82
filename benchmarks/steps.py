"""Gain of each step of the engine, and the time of a packed batch by part: `python -m benchmarks.steps`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
from torch.profiler import ProfilerActivity, profile

from benchmarks.jobs import HELD, Published, ifd_spans, pair_of
from benchmarks.measure import Works, alternate, machine, run_batches, show_ratios
from rt_framework.builtin import models
from rt_framework.builtin.students.attention import RunAttention
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.products import OneDnnProducts
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.scoring import plan
from rt_framework.spans import EncodedSpan

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "linear", "mkldnn"),
    "attention": ("scaled_dot_product", "flash"),
    "log-sum-exp": ("exp_", "amax", "sub_", "logaddexp", "sum"),
}


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Hub id, directory or .gguf file; run in float32 on the CPU.")
@click.option("--rows", default=48, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(data: Path, model: str, rows: int, rounds: int) -> None:
    """Measure and print."""
    settings = HFSettings(model, dtype="float32", device="cpu")
    HELD["student"] = student = HFStudent(settings)
    loaded = models.load_model(settings, None)
    spans = ifd_spans([pair_of(row) for row in json.loads(data.read_text("utf-8"))[:rows]])
    encoded = [one for one in student.encode(spans) if isinstance(one, EncodedSpan)]
    works: Works = {"published procedure": Published(loaded, models.load_tokenizer(settings), spans)}
    head = TargetHead(loaded.get_output_embeddings(), loaded.config)
    padded, packed = (list(plan(encoded, partial(int, student.batch_tokens), packed)) for packed in (False, True))
    works |= {
        name: partial(run_batches, losses.sums, batches)
        for name, losses, batches in (
            ("sorted, padded batches", TargetLosses(loaded, None, None), padded),
            ("+ head on targets", TargetLosses(loaded, head, None), padded),
            ("+ packed, shared prefixes", TargetLosses(loaded, head, RunAttention), packed),
            ("+ products by oneDNN", TargetLosses(loaded, head, RunAttention, OneDnnProducts), packed),
        )
    }
    show_ratios(alternate(works, rounds), machine("cpu"))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        list(works.values())[-1]()
    for name, share in shares(seen).items():
        click.echo(f"{share:6.1%} {name}")


def shares(seen: Any) -> dict[str, float]:
    """Share of the time by kind of operation."""
    spent = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(spent.values())
    found = dict.fromkeys((*KINDS, "the rest"), 0.0)
    for key, time in spent.items():
        kind = next(
            (kind for kind, names in KINDS.items() if any(key.lstrip("_").startswith(n) for n in names)), "the rest"
        )
        found[kind] += time / total
    return found


if __name__ == "__main__":
    main()
