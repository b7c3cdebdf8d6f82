"""IFD by other tools on the same rows and model, as a table: `make bench-peers DATA=ROWS.json`, after `make peers`.

Each tool is measured if it is there: lm-eval and Data-Juicer in the environment of this command, OpenDataArena's
DataScorer in a checkout (--oda), vLLM as a server that computes in float32 (--url). What a tool computes differs in
places from the published IFD: docs/benchmarks.md says where.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata, util
from pathlib import Path
from typing import Any

import click
import httpx
from attrs import frozen

from benchmarks.jobs import HELD, Published, Row, ifd_spans, pair_of
from benchmarks.measure import Rounds, Works, alternate, machine, run_batches
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.config import Builder
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host
from rt_framework.scoring import plan
from rt_framework.spans import EncodedSpan, Span

PUBLISHED = "published procedure"
AT_ONCE = 16
"""Requests to a server at once."""


@frozen
class Job:
    """The rows and the model that every tool is given."""

    model: str
    rows: list[Row]
    spans: tuple[Span, ...]


@frozen
class Peer:
    """A tool, perhaps one that is not here."""

    lines: dict[str, str]
    """How each of its works makes batches, by the name of the work."""
    make: Callable[[Job], Works]
    """Function that loads it, and returns its works by the same names."""
    missing: str
    """How to have it, where it is not here; else empty."""


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="JSON file of Alpaca rows.")
@click.option("--model", required=True, help="Directory with safetensors in float32, which all of them can load.")
@click.option("--rows", default=32, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--oda", type=click.Path(exists=True, path_type=Path), help="Checkout of ODA-DataScorer.")
@click.option("--url", envvar="RT_VLLM_URL", help="Server of vLLM with the same model.")
def main(data: Path, model: str, rows: int, rounds: int, oda: Path | None, url: str | None) -> None:
    """Measure, and print a table in Markdown."""
    taken = [row for row in json.loads(data.read_text("utf-8")) if row["output"].strip()][:rows]
    job = Job(model, taken, ifd_spans([pair_of(row) for row in taken]))
    peers = [ours(), datascorer(oda), lm_eval(), data_juicer(), vllm(url)]
    works: Works = {}
    for peer in peers:
        if not peer.missing:
            with silence():
                works |= peer.make(job)
    found = alternate({name: silence()(work) for name, work in works.items()}, rounds, warm_up=True)
    facts = machine("cpu") | {"dtype": "float32", "rows": len(taken), "sequences": len(job.spans), "rounds": rounds}
    click.echo(", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    click.echo("\n".join(table(peers, found)))


def table(peers: Sequence[Peer], found: Mapping[str, Rounds]) -> Iterator[str]:
    """Yield the lines of the table, with a row for each work of a tool, also of one that is not here."""
    yield f"| scorer | speed, × {PUBLISHED} | how it batches |\n|---|---|---|"
    for peer in peers:
        for name, batching in peer.lines.items():
            speed = "not here" if peer.missing else f"{found[PUBLISHED].median / found[name].median:.2f}"
            yield f"| {name} | {speed} | {peer.missing or batching} |"


def ours() -> Peer:
    """The published procedure, and the framework's student without a ledger."""

    def make(job: Job) -> Works:
        settings = HFSettings(job.model, dtype="float32", device="cpu")
        HELD["student"] = student = HFStudent(settings)
        assert student.packs

        def score() -> None:
            encoded = [one for one in student.encode(job.spans) if isinstance(one, EncodedSpan)]
            run_batches(student.score, plan(encoded, lambda: student.batch_tokens, student.packs))

        published = Published(models.load_model(settings, None), models.load_tokenizer(settings), job.spans)
        return dict(zip(lines, (published, score), strict=True))

    lines = {PUBLISHED: "one sequence at a time, full logits", "rt-framework": "packed rows"}
    return Peer(lines, make, "")


def data_juicer() -> Peer:
    """The IFD filter of Data-Juicer."""

    def make(job: Job) -> Works:
        from data_juicer.ops.filter.instruction_following_difficulty_filter import (
            InstructionFollowingDifficultyFilter,
        )
        from data_juicer.utils.constant import Fields

        frames = {"query_template": "{prompt}", "response_template": "{response}"}
        op = InstructionFollowingDifficultyFilter(hf_model=job.model, **frames)
        samples = [{"prompt": str(one.context), "response": one.target} for one in job.spans[::2]]
        (name,) = lines
        return {name: lambda: [op.compute_stats(sample | {Fields.stats: {}}) for sample in samples]}

    lines = {f"Data-Juicer{_version('py-data-juicer')}": "one row at a time, full logits"}
    return Peer(lines, make, _without("data_juicer"))


def lm_eval() -> Peer:
    """The log-likelihoods of lm-eval: of a continuation, given a context or none."""

    def make(job: Job) -> Works:
        from lm_eval.api.instance import Instance
        from lm_eval.models.huggingface import HFLM

        def score(lm: HFLM) -> None:
            asked = [
                Instance(request_type="loglikelihood", doc={}, arguments=(str(one.context), one.target), idx=at)
                for at, one in enumerate(job.spans)
            ]
            sums = lm.loglikelihood(asked, disable_tqdm=True)
            assert all(math.isfinite(total) for total, _ in sums)

        options = {"pretrained": job.model, "device": "cpu", "dtype": "float32", "max_length": 2048}
        return {
            name: partial(score, HFLM(batch_size=size, **options)) for name, size in zip(lines, (1, 8), strict=True)
        }

    name, batching = f"lm-eval{_version('lm-eval')}", "longest first, full logits and a copy of their log-softmax"
    lines = {f"{name}, batch 1": batching, f"{name}, batch 8": batching}
    return Peer(lines, make, _without("lm_eval"))


def datascorer(folder: Path | None) -> Peer:
    """The IFD scorer of OpenDataArena."""

    def make(job: Job) -> Works:
        sys.path.insert(0, str(folder and folder / "model_based"))
        from scorers.IFDScorer import IFDScorer

        prompt = str(ifd_spans([pair_of({"instruction": "{instruction}", "input": "", "output": "x"})])[0].context)
        frames = {"template": prompt.replace("{instruction}", "{instruction}\n\n{input}"), "template_no_input": prompt}

        def score(scorer: IFDScorer, size: int) -> None:
            parts = [job.rows[at : at + size] for at in range(0, len(job.rows), size)]
            found = [
                value
                for part in parts
                for value in ([scorer.score_item(part[0])] if size == 1 else scorer.score_batch(part))
            ]
            # It swallows every exception and gives −1 for the whole batch.
            assert -1 not in found

        config = {"name": "IFDScorer", "model": job.model, "max_length": 2048, **frames}
        return {
            name: partial(score, IFDScorer(config | {"batch_size": size}), size)
            for name, size in zip(lines, (1, 8), strict=True)
        }

    name = "OpenDataArena's DataScorer"
    lines = {
        f"{name}, batch 1": "in the order of the file, full logits",
        f"{name}, batch 8": "the same, padded to the longest of the batch",
    }
    clone = "`git clone https://github.com/OpenDataArena/ODA-DataScorer`, and `ODA=ODA-DataScorer`"
    return Peer(lines, make, "" if folder else clone)


def vllm(url: str | None) -> Peer:
    """A server of vLLM: bare requests, and the student of rt-vllm."""

    def student() -> Any:
        settings = {"url": url, "dtype": "float32", "at_once": AT_ONCE}
        return Builder(Host(only=(), modules=("rt_vllm",))).spec("students", Spec("vllm", settings))

    def make(job: Job) -> Works:
        reader = student()
        reader.encode(job.spans[:1])  # loads its tokenizer

        async def score(bare: bool) -> None:
            encoded = [one for one in reader.encode(job.spans) if isinstance(one, EncodedSpan)]
            asked = student()
            async with httpx.AsyncClient(timeout=600, trust_env=False) as client:
                await _at_once(partial(_ask, client, str(url), reader.name) if bare else asked.loss, encoded)
            await asked.aclose()

        def run(bare: bool) -> None:
            asyncio.run(score(bare))

        return {name: partial(run, bare) for name, bare in zip(lines, (True, False), strict=True)}

    release = f" {httpx.get(f'{url}/version', trust_env=False).json()['version']}" if url else ""
    lines = {
        f"vLLM{release}, bare requests": f"by itself, {AT_ONCE} requests at once, a log-softmax of every prompt token",
        f"vLLM{release}, student `vllm`": "the same",
    }
    return Peer(lines, make, "" if url else "`make peers`")


async def _at_once(ask: Callable[[EncodedSpan], Awaitable[object]], spans: Sequence[EncodedSpan]) -> None:
    """Ask for every sequence, so many at once."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(span: EncodedSpan) -> None:
        async with free:
            await ask(span)

    await asyncio.gather(*map(one, spans))


async def _ask(client: httpx.AsyncClient, url: str, model: str, span: EncodedSpan) -> float:
    """Return the loss of a sequence from a request with nothing around it."""
    body = {"model": model, "prompt": [span.ids], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    answer = await client.post(f"{url}/v1/completions", json=body)
    entries = answer.raise_for_status().json()["choices"][0]["prompt_logprobs"]
    return float(sum(-entries[at][str(span.ids[at])]["logprob"] for at in span.positions))


def _version(package: str) -> str:
    """Return the version of a package, to be put behind its name; empty where it is not here."""
    try:
        return f" {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return ""


def _without(module: str) -> str:
    """Return how to have a module that is not here; empty where it is."""
    return "" if util.find_spec(module) else "`make peers`"


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Peers print as they go."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


if __name__ == "__main__":
    main()
