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
from pathlib import Path
from typing import Any

import click
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
from benchmarks.measure import Cost, machine, matrix_rate, rank_correlation, seconds
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.products import OneDnnProducts
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.packing import Row

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
    figures = compare(settings, taken, groups, rounds) | {"peak_memory_ratio": memory_ratio(model)}
    facts = machine("cpu") | {"model": Path(model).name, "rows": len(taken), "quads": groups, "rounds": rounds}
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    for name, meaning in METRICS.items():
        click.echo(f"{figures[name]:>12.6g}  {name}: {meaning}")
    if out is not None:
        out.write_text(json.dumps(figures | {"machine": facts}, indent=1) + "\n", "utf-8")


def compare(settings: HFSettings, rows: list[dict[str, str]], groups: int, rounds: int) -> dict[str, Any]:
    """Both jobs, both sides, in turn."""
    student = HFStudent(settings)
    HELD["student"] = counted = Counted(student)
    model, tokenizer = models.load_model(settings, None), models.load_tokenizer(settings)
    samples = quads(rows)[:groups]
    pairs = [pair_of(row) for row in rows]
    one = Published(model, tokenizer, ifd_spans(pairs))
    whole = Published(model, tokenizer, all_spans([pair for sample in samples for pair in sample.versions]))
    published_tokens = one.tokens, whole.tokens  # counting them loads the tokenizer, which is not timed
    times: dict[str, list[float]] = {name: [] for name in ("one", "one published", "whole", "whole published")}
    rates, other_rates = [], []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            took, losses = seconds(one)
            times["one published"].append(took)
            rates.append(matrix_rate(model.dtype, "cpu"))
            counted.batches.clear()
            took, lines = seconds(partial(score_rows, rows, Path(folder, f"one-{turn}")))
            times["one"].append(took)
            batches = list(counted.batches)
            took, _ = seconds(whole)
            times["whole published"].append(took)
            rates.append(matrix_rate(model.dtype, "cpu"))
            with OneDnnProducts():
                other_rates.append(matrix_rate(model.dtype, "cpu", product=linear))
            took, summary = seconds(partial(run_pipeline, samples, Path(folder, f"whole-{turn}")))
            times["whole"].append(took)
            shown = {name: f"{seconds[-1]:.1f} s" for name, seconds in times.items()}
            click.echo(f"round {turn + 1} of {rounds}: {shown}", err=True)
    middle = {name: statistics.median(values) for name, values in times.items()}
    rate = statistics.median(rates)
    needed = Cost.of(model).needed(batches)
    floor = len(Row.of([span for batch in batches for span in batch.spans]).ids)
    return {
        "speedup_one_version": middle["one published"] / middle["one"],
        "speedup_lazy_job": middle["whole published"] / middle["whole"],
        "token_ratio_one_version": sum(batch.tokens for batch in batches) / published_tokens[0],
        "token_ratio_lazy_job": summary.progress.forward_tokens / published_tokens[1],
        "token_floor_one_version": sum(batch.tokens for batch in batches) / floor,
        "gemm_share": needed / middle["one"] / rate,
        "gemm_share_onednn": needed / middle["one"] / statistics.median(other_rates),
        "gemm_share_published": needed / middle["one published"] / rate,
        "gemm_rate": rate,
        "seconds": times,
        "path": student.path,
        **agreement(lines, losses),
    }


def agreement(lines: list[dict[str, Any]], losses: list[float]) -> dict[str, Any]:
    """How far our losses and scores are from the published procedure's."""
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
