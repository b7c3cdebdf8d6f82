"""Cost of `rt run` without a model, for few and for many samples: `python -m benchmarks.flat --samples 1000000`.

Each run is a process of its own. A fake student and a fake teacher stand in for the models; reading, asking, looking
up, planning, committing and writing are the product's own. A million samples need some 5 GB of disk while they run.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import zlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import asdict, frozen

from rt_framework import hookimpl
from rt_framework.config import Config
from rt_framework.jobs.running import run
from rt_framework.model import Reply, Request
from rt_framework.plugin import Host, structure
from rt_framework.spans import EncodedSpan, SpanLoss
from rt_framework.testing import FakeStudent
from rt_framework.testing.fakes import rewriting

PER_SAMPLE: list[dict[str, Any]] = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
    {"gate": {"ifd": {"below": 2}}},
]

PIPELINES = {
    # A question and a length for each sample: a million of them in half an hour.
    "rewrite": [{"reflect": "response"}, {"choose": "newest"}, {"gate": {"length": {"at_least": 1}}}],
    "per-sample": PER_SAMPLE,
    "data-set": [*PER_SAMPLE, {"select": {"top": {"metric": "ifd", "fraction": 0.1}}}],
}


class Teacher:
    """Answers from the request alone, and remembers nothing."""

    identity = "flat"
    structured = True

    async def complete(self, request: Request) -> Reply:
        """A well-formed answer."""
        return Reply(rewriting(request), model=self.identity)


class Student(FakeStudent):
    """A fake student that takes no time to speak of: a loss is a checksum of its sequence."""

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """Between 1 and 2 nats a token."""
        return [_loss(span) for span in batch]


def _loss(span: EncodedSpan) -> SpanLoss:
    length = len(span.ids) - span.start
    return SpanLoss(length * (1 + zlib.crc32(array("L", span.ids)) / 2**32), length)


@hookimpl
def rt_register_students(register: Callable[..., None]) -> None:
    """Offer the student."""
    register("flat", "benchmarks.flat:Student", help="the benchmark's")


@hookimpl
def rt_register_teachers(register: Callable[..., None]) -> None:
    """Offer the teacher."""
    register("flat", "benchmarks.flat:Teacher", help="the benchmark's")


@frozen
class Figures:
    """Time, memory and disk of one run."""

    pipeline: str
    samples: int
    seconds: float
    processor: float
    """Seconds of processor time, of all threads."""
    ledger: int
    """Bytes of the ledger."""
    peak: int
    """Most bytes that the process held, all libraries included."""
    outcomes: dict[str, int]

    def __str__(self) -> str:
        took, worked = (1e3 * seconds / self.samples for seconds in (self.seconds, self.processor))
        return (
            f"{self.pipeline}, {self.samples:,} samples: {self.peak / 2**20:.0f} MiB at most; a sample takes "
            f"{took:.2f} ms, {worked:.2f} ms of processor time, {self.ledger / self.samples:,.0f} bytes of ledger"
        )


def measure(samples: int, pipeline: str, keep: Path | None = None) -> Figures:
    """`rt run` over so many samples in a process of its own.

    Args:
        samples: how many.
        pipeline: a key of ``PIPELINES``.
        keep: a folder where the run stays, so that the same call goes on with it after a stop; the figures are then
            those of the last process.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if keep is None else keep / f"{pipeline}-{samples}"
        folder.mkdir(parents=True, exist_ok=True)
        data = write_samples(folder / "rows.jsonl", samples)
        command = [sys.executable, "-m", "benchmarks.flat", "--one", str(data), "--pipeline", pipeline]
        root = Path(__file__).resolve().parent.parent
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - ourselves
    return Figures(pipeline, samples, **json.loads(done.stdout))


def write_samples(path: Path, samples: int) -> Path:
    """Short samples under a few system-like starts; one in a hundred occurs twice."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(samples):
            own = number if number % 100 else number // 2
            row = {
                "instruction": f"Name {own % 7} things that one can do with item {own} on a rainy day.",
                "input": "",
                "output": f"Look at {own}, turn it over, and give it to number {own % 1000} in the row.",
            }
            file.write(json.dumps(row) + "\n")
    return path


def go(data: Path, pipeline: str) -> dict[str, Any]:
    """`rt run` in this process."""
    raw = {
        "data": {"path": str(data)},
        "teacher": "flat",
        "student": "flat",
        "scoring": {"preset": "superfiltering", "template": "alpaca"},
        "pipeline": PIPELINES[pipeline],
        # An answer of the fake is there at once; with few at a time the run would wait for the disk alone.
        "limits": {"concurrency": 256},
    }
    start, before = time.perf_counter(), time.process_time()
    host = Host(modules=["benchmarks.flat"], only=[], strict=True)
    summary = asyncio.run(run(host, structure(raw, Config), data.parent / "run"))
    took, processor = time.perf_counter() - start, time.process_time() - before
    size = (data.parent / "run" / "ledger.sqlite").stat().st_size
    figures = {"seconds": took, "processor": processor, "ledger": size, "peak": _peak()}
    return {**figures, "outcomes": dict(summary.outcomes)}


def _peak() -> int:
    """Of this program alone: what ``getrusage`` gives begins with what the parent held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@click.command(help=__doc__)
@click.option("--samples", default=1_000_000, show_default=True, help="Samples of the large run.")
@click.option("--base", default=10_000, show_default=True, help="Samples of the small run.")
@click.option("--pipeline", "pipelines", multiple=True, type=click.Choice(list(PIPELINES)), help="One alone.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the runs there, and go on with those that stopped.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--one", type=click.Path(path_type=Path), hidden=True)
def main(
    samples: int, base: int, pipelines: tuple[str, ...], keep: Path | None, out: Path | None, one: Path | None
) -> None:
    """Measure and print."""
    if one is not None:
        click.echo(json.dumps(go(one, pipelines[0])))
        return
    figures = []
    for pipeline in pipelines or PIPELINES:
        few, many = (measure(count, pipeline, keep) for count in (base, samples))
        click.echo(f"{few}\n{many}\n{pipeline}: {(many.peak - few.peak) / 2**20:.0f} MiB more")
        figures += [asdict(few), asdict(many)]
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
