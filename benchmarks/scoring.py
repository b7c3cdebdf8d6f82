"""Scoring against the published procedure, side by side: `python -m benchmarks.scoring --data FILE --model MODEL`.

Prints ratios only: on a small machine seconds mean little. Medians over alternated rounds of one process.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import click
import torch
from torch.nn.functional import linear

from benchmarks.jobs import (
    HELD,
    IFD_LOSSES,
    Counted,
    Published,
    all_spans,
    ifd_spans,
    pair_of,
    quads,
    run_pipeline,
    score_rows,
)
from benchmarks.measure import Cost, Rounds, Works, alternate, machine, matrix_rate, rank_correlation
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.products import OneDnnProducts
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.kit.packing import PrefixRow
from rt_framework.scoring import ForwardBatch

METRICS = {
    "speedup_one_version": "IFD of one version of each sample, `rt score`: published seconds ÷ ours",
    "speedup_lazy_job": "the whole job, `rt run`, four versions of each sample: published seconds ÷ ours",
    "token_ratio_one_version": "tokens fed ÷ published tokens, one version",
    "token_ratio_lazy_job": "tokens fed ÷ published tokens, the whole job",
    "token_floor_one_version": "tokens fed ÷ those of one tree of all sequences",
    "gemm_share": "needed FLOP a second, one version ÷ the rate of a 2048³ float32 matrix product",
    "gemm_share_onednn": "needed FLOP a second, one version ÷ the same rate by oneDNN",
    "gemm_share_published": "the same work at the published procedure's speed",
    "max_abs_loss_difference": "largest difference of a mean loss, in nats a token",
    "rank_correlation_ifd": "Spearman's ρ of the two IFD columns",
    "gate_flips": "samples whose IFD is on the other side of 1",
    "peak_memory_ratio": "memory over the loaded model for one sequence of 2,048 tokens: published ÷ ours",
}


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Hub id, directory or .gguf file; run in float32 on the CPU.")
@click.option("--rows", default=96, show_default=True, help="The first so many rows.")
@click.option("--quads", "groups", default=8, show_default=True, help="Samples of the whole job, of four rows each.")
@click.option("--rounds", default=5, show_default=True, help="Times that each side runs, alternated.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here.")
def main(data: Path, model: str, rows: int, groups: int, rounds: int, out: Path | None) -> None:
    """Measure, print, write."""
    settings = HFSettings(model, dtype="float32", device="cpu")
    taken = json.loads(data.read_text("utf-8"))[:rows]
    measured = compare(settings, taken, groups, rounds) | {"peak_memory_ratio": memory_ratio(model)}
    facts = machine("cpu") | {"model": Path(model).name, "rows": len(taken), "quads": groups, "rounds": rounds}
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    for name, meaning in METRICS.items():
        click.echo(f"{measured[name]:>12.6g}  {name}: {meaning}")
    if out is not None:
        out.write_text(json.dumps(measured | {"machine": facts}, indent=1) + "\n", "utf-8")


def compare(settings: HFSettings, rows: list[dict[str, str]], groups: int, rounds: int) -> dict[str, Any]:
    """Both jobs, both sides, in turn."""
    student = HFStudent(settings)
    HELD["student"] = counted = Counted(student)
    model, tokenizer = models.load_model(settings, None), models.load_tokenizer(settings)
    samples = quads(rows)[:groups]
    one = Published(model, tokenizer, ifd_spans([pair_of(row) for row in rows]))
    whole = Published(model, tokenizer, all_spans([pair for sample in samples for pair in sample.versions]))
    published_tokens = one.tokens, whole.tokens  # counting them loads the tokenizer, which is not timed
    with tempfile.TemporaryDirectory() as folder:
        fresh = (Path(folder, str(number)) for number in count())
        works: Works = {
            "one published": one,
            "rate": partial(matrix_rate, model.dtype, "cpu"),
            "one": lambda: one_version(counted, rows, next(fresh)),
            "whole published": whole,
            "rate again": partial(matrix_rate, model.dtype, "cpu"),
            "rate by oneDNN": partial(onednn_rate, model.dtype),
            "whole": lambda: run_pipeline(samples, next(fresh)),
        }
        found = alternate(works, rounds)
    return figures(found, Cost.of(model), *published_tokens) | {"path": student.path}


def one_version(
    counted: Counted, rows: list[dict[str, str]], folder: Path
) -> tuple[list[dict[str, Any]], list[ForwardBatch]]:
    """The lines of `rt score`, and the batches that the student was given for them."""
    counted.batches.clear()
    return score_rows(rows, folder), list(counted.batches)


def onednn_rate(dtype: torch.dtype) -> float:
    """The matrix rate by oneDNN."""
    with OneDnnProducts():
        return matrix_rate(dtype, "cpu", product=linear)


def figures(found: dict[str, Rounds], cost: Cost, one_tokens: int, whole_tokens: int) -> dict[str, Any]:
    """Return the figures of all rounds, given the tokens that the published procedure feeds in each job."""
    lines, batches = found["one"].results[-1]
    rate = statistics.median(found["rate"].results + found["rate again"].results)
    needed, fed = cost.needed(batches), sum(batch.tokens for batch in batches)
    return {
        "speedup_one_version": found["one published"].median / found["one"].median,
        "speedup_lazy_job": found["whole published"].median / found["whole"].median,
        "token_ratio_one_version": fed / one_tokens,
        "token_ratio_lazy_job": found["whole"].results[-1].progress.student.tokens / whole_tokens,
        "token_floor_one_version": fed / len(PrefixRow.of([span for batch in batches for span in batch.spans]).ids),
        "gemm_share": needed / found["one"].median / rate,
        "gemm_share_onednn": needed / found["one"].median / statistics.median(found["rate by oneDNN"].results),
        "gemm_share_published": needed / found["one published"].median / rate,
        "gemm_rate": rate,
        "seconds": {name: found[name].seconds for name in ("one", "one published", "whole", "whole published")},
        **agreement(lines, found["one published"].results[-1]),
    }


def agreement(lines: list[dict[str, Any]], losses: list[float]) -> dict[str, Any]:
    """Return the distance of our losses and scores from those of the published procedure."""
    ours = [[_mean(line["losses"][name]) for name in IFD_LOSSES] for line in lines]
    theirs = [losses[at : at + 2] for at in range(0, len(losses), 2)]
    both = list(zip(ours, theirs, strict=True))
    # A first token alone has no loss: null here, NaN there.
    assert all(math.isnan(a) == math.isnan(b) for one, other in both for a, b in zip(one, other, strict=True))
    known = [(one, other) for one, other in both if not any(map(math.isnan, one))]
    ifd, published = ([math.exp(given - alone) for given, alone in side] for side in zip(*known, strict=True))
    return {
        "max_abs_loss_difference": max(abs(a - b) for one, other in known for a, b in zip(one, other, strict=True)),
        "rank_correlation_ifd": rank_correlation(ifd, published),
        "gate_flips": sum((one < 1) != (other < 1) for one, other in zip(ifd, published, strict=True)),
    }


def _mean(loss: dict[str, Any]) -> float:
    return math.nan if loss["nll"] is None else float(loss["nll"] / loss["tokens"])


def memory_ratio(model: str) -> float:
    """Published memory over the loaded model ÷ ours, each in a process of its own."""
    published, ours = (
        int(
            subprocess.run(  # noqa: S603 - our own module
                [sys.executable, "-m", "benchmarks.memory", side, model], check=True, capture_output=True, text=True
            ).stdout
        )
        for side in ("published", "ours")
    )
    return published / ours


if __name__ == "__main__":
    main()
