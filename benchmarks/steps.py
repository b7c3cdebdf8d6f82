"""Gain of each step of the engine, and where the time of a pass and of a job goes: `python -m benchmarks.steps`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from torch.profiler import ProfilerActivity, profile

from benchmarks.jobs import HELD, Counted, Published, Row, ifd_spans, pair_of, score_rows
from benchmarks.measure import Works, alternate, machine, run_batches, seconds, show_ratios
from rt_framework.builtin import models
from rt_framework.builtin.students.attention import RunAttention
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.products import OneDnnProducts
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.scoring import plan
from rt_framework.spans import EncodedSpan, Span, SpanLoss

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
    taken = json.loads(data.read_text("utf-8"))[:rows]
    spans = ifd_spans([pair_of(row) for row in taken])
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
    show_shares("a pass", shares(seen))
    show_shares("`rt score`", shares_of_a_job(student, taken))


def show_shares(what: str, found: dict[str, float]) -> None:
    """Print the shares of something."""
    click.echo(f"of {what}:")
    for name, share in found.items():
        click.echo(f"{share:6.1%} {name}")


class Timed(Counted):
    """A student that adds up the seconds that it encodes and computes."""

    def __init__(self, student: HFStudent) -> None:
        super().__init__(student)
        self.encoding = self.passes = 0.0

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """As the student."""
        start = time.perf_counter()
        encoded = super().encode(spans)
        self.encoding += time.perf_counter() - start
        return encoded

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """As the student."""
        start = time.perf_counter()
        losses = super().score(batch)
        self.passes += time.perf_counter() - start
        return losses


def shares_of_a_job(student: HFStudent, rows: Sequence[Row]) -> dict[str, float]:
    """Share of the time of `rt score`: encoding, passes, and all that is done while the student has no work."""
    HELD["student"] = timed = Timed(student)
    with tempfile.TemporaryDirectory() as folder:
        took, _ = seconds(lambda: score_rows(rows, Path(folder, "job")))
    parts = {"forward passes": timed.passes, "encoding": timed.encoding}
    parts["reading, framing, planning, ledger, lines"] = took - sum(parts.values())
    return {name: part / took for name, part in parts.items()}


def shares(seen: Any) -> dict[str, float]:
    """Share of the time by kind of operation."""
    spent = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(spent.values())
    found = dict.fromkeys((*KINDS, "the rest"), 0.0)
    for key, took in spent.items():
        kind = next(
            (kind for kind, names in KINDS.items() if any(key.lstrip("_").startswith(n) for n in names)), "the rest"
        )
        found[kind] += took / total
    return found


if __name__ == "__main__":
    main()
