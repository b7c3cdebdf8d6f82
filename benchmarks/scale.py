"""`rt score` without a model, for what the framework itself costs: `python -m benchmarks.scale --samples 200000`.

The fake student of `rt_framework.testing` stands in for the model; reading, looking up, planning, packing,
committing and writing are the product's own.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.flat import write_samples
from benchmarks.jobs import HELD
from benchmarks.measure import loaded_memory, peak_memory, seconds
from rt_framework.config import Data, ScoringConfig
from rt_framework.data import open_source
from rt_framework.events import Summary
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.kit.packing import PrefixRow
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host
from rt_framework.spans import EncodedSpan, SpanLoss
from rt_framework.testing import FakeStudent


class Packing(FakeStudent):
    """The fake student, laying each batch out as the real one does."""

    packs = True
    batch_tokens = 8192
    path = "fake"

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """A loss for each sequence, from the row that holds it."""
        row = PrefixRow.of(batch)
        _, targets, lengths = row.predicting(batch)
        assert len(targets) == sum(lengths)
        return [SpanLoss(float(length), length) for length in lengths]


@click.command(help=__doc__)
@click.option("--samples", default=200_000, show_default=True)
@click.option("--metric", "metrics", multiple=True, default=("ifd",), show_default=True)
def main(samples: int, metrics: tuple[str, ...]) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_samples(Path(folder, "rows.jsonl"), samples)
        before = loaded_memory()
        took, summary = seconds(lambda: score(data, Path(folder, "scores.jsonl"), metrics))
        grown = peak_memory() - before
    student = summary.progress.student
    click.echo(
        f"{samples} samples: {took:.1f} s, {1e6 * took / samples:.0f} µs a sample, {student.tokens} tokens fed, "
        f"{student.reused} losses known, {grown / 2**20:.0f} MiB above the start"
    )


def score(data: Path, out: Path, metrics: Sequence[str]) -> Summary:
    """`rt score`."""
    HELD["student"] = Packing()
    host = Host(modules=["benchmarks.jobs"], only=[], strict=True)
    source = open_source(host, Data(str(data)), None)
    config = ScoringConfig(preset="superfiltering", template=Spec("alpaca"))
    return asyncio.run(score_file(host, source, Scorers(tuple(metrics), Spec("held"), config), out))


if __name__ == "__main__":
    main()
