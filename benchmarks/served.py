"""A student behind a server against the student `hf`, and the package's client against bare requests.

`PYTHONPATH=plugins/rt-vllm python -m benchmarks.served --url URL --model M --data ROWS.json`. The server computes in
float32. Rounds are alternated; medians and their ratios are printed.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import click
import httpx

from rt_framework.config import MAIN, Builder, ScoringConfig
from rt_framework.kit.parts import Spec
from rt_framework.ledger import Ledger
from rt_framework.model import Pair
from rt_framework.pipeline import PROBE, scoring_side
from rt_framework.plugin import Host
from rt_framework.scoring import PresetSpans, preset
from rt_framework.spans import EncodedSpan

METRICS = {"two spans (IFD)": ("ifd",), "four spans (IFD and r-IFD)": ("ifd", "r-ifd")}


def host() -> Host:
    """Return a host with the package."""
    return Host(only=(), modules=("rt_vllm",))


async def seconds(spec: Spec, pairs: Sequence[Pair], metrics: Sequence[str]) -> float:
    """Return how long a student takes for all pairs, with a new ledger, after it has been loaded."""
    with tempfile.TemporaryDirectory() as folder, Ledger.writing(Path(folder) / "ledger.sqlite") as ledger:
        side = scoring_side(Builder(host()), {MAIN: spec}, ScoringConfig("chat"), ledger)
        try:
            await side.scoring.check(PROBE, metrics)
            await side.scoring.score([PROBE], metrics)
            began = time.perf_counter()
            await side.scoring.score(pairs, metrics)
            return time.perf_counter() - began
        finally:
            await side.close()


async def bare(url: str, model: str, sequences: Sequence[EncodedSpan], at_once: int) -> float:
    """Return how long the same requests take with nothing around them."""
    free = asyncio.Semaphore(at_once)

    async def ask(client: httpx.AsyncClient, sequence: EncodedSpan) -> None:
        body = {"model": model, "prompt": [sequence.ids], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        async with free:
            answer = await client.post(f"{url}/v1/completions", json=body)
            entries = answer.raise_for_status().json()["choices"][0]["prompt_logprobs"]
            sum(-entries[at][str(sequence.ids[at])]["logprob"] for at in sequence.positions)

    async with httpx.AsyncClient(timeout=600, trust_env=False, limits=httpx.Limits(max_connections=None)) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, sequence) for sequence in sequences))
        return time.perf_counter() - began


def sequences_of(spec: Spec, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[EncodedSpan]:
    """Return every sequence that these metrics ask for, each once."""
    make = Builder(host())
    frame = PresetSpans(preset("chat"), make("templates", "chat"), None)
    spans = [
        span
        for pair in pairs
        for metric in metrics
        for part in make("metrics", metric).spans(pair, frame).values()
        for span in part
    ]
    encoded = make.spec("students", spec).encode(list(dict.fromkeys(spans)))
    return [one for one in encoded if isinstance(one, EncodedSpan)]


@click.command()
@click.option("--url", required=True, help="Address of the server.")
@click.option("--model", required=True, help="The same model, for the student hf.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Rows of Alpaca.")
@click.option("--rows", default=48, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--at-once", default=16, show_default=True)
def main(url: str, model: str, data: Path, rows: int, rounds: int, at_once: int) -> None:
    """Print medians and ratios."""
    read = [row for row in json.loads(data.read_text("utf-8")) if row["output"].strip()][:rows]
    pairs = [Pair(row["instruction"], row["input"], row["output"]) for row in read]
    served = Spec("vllm", {"url": url, "dtype": "float32", "at_once": at_once})
    local = Spec("hf", {"model": model, "dtype": "float32"})
    name = httpx.get(f"{url}/v1/models").json()["data"][0]["id"]
    for label, metrics in METRICS.items():
        sequences = sequences_of(served, pairs, metrics)
        ways: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {
            "hf": partial(seconds, local, pairs, metrics),
            "vllm": partial(seconds, served, pairs, metrics),
            "bare requests": partial(bare, url, name, sequences, at_once),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, measure in ways.items():
                times[way].append(asyncio.run(measure()))
        middle = {way: median(found) for way, found in times.items()}
        told = ", ".join(f"{way} {found:.1f} s" for way, found in middle.items())
        click.echo(f"{label}, {len(sequences)} sequences: {told}")
        click.echo(f"  vllm / hf {middle['vllm'] / middle['hf']:.2f}")
        click.echo(f"  vllm / bare requests {middle['vllm'] / middle['bare requests']:.3f}")


if __name__ == "__main__":
    main()
