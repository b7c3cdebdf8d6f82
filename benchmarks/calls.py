"""Overhead of a paid call over `litellm.acompletion` alone: `python -m benchmarks.calls`.

Both ask the same server, in a process of its own on 127.0.0.1. Plain calls are sent and forgotten; ours are priced,
reserved, committed before and after, and counted.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import multiprocessing
import os
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

from benchmarks.measure import Works, alternate, machine
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher, _litellm
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.concurrency import StopSignal
from rt_framework.config import Limits
from rt_framework.kit.garbage import seldom_collected
from rt_framework.ledger import Ledger
from rt_framework.model import Request, Sampling, Turn
from rt_framework.plugin import Reporters
from rt_framework.teacher import Answers, Sending, budget_of
from rt_framework.testing.server import FaultServer

_TEXT = "Explain how a cork, a leaf and a boat float on water. " * 12
"""A prompt as long as a reflection's."""

_STDLIB = f"python{sys.version_info.major}.{sys.version_info.minor}"


@click.command(help=__doc__)
@click.option("--count", default=2000, show_default=True, help="Calls of each side in a round, without latency.")
@click.option("--rounds", default=5, show_default=True)
@click.option(
    "--slow", default=10_000, show_default=True, help="Calls of each side at 500 ms, 200 at once; 0 for none."
)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here.")
def main(count: int, rounds: int, slow: int, out: Path | None) -> None:
    """Measure, print, write."""
    os.environ.setdefault("OPENAI_API_KEY", "sk-benchmark")
    figures: dict[str, float] = {}
    with serving(0.0) as url:
        found = alternate(sides(url, count, 32), rounds, warm_up=True)
        figures["overhead"] = found["ours"].median / found["plain"].median
        figures["plain_calls_a_second"] = count / found["plain"].median
        shares = profile(partial(ours, url, count, 32))
    if slow:
        with serving(0.5) as url:
            found = alternate(sides(url, slow, 200), 1)
            figures["throughput_at_500_ms"] = found["plain"].median / found["ours"].median
            figures["plain_calls_a_second_at_500_ms"] = slow / found["plain"].median
    facts = machine("cpu") | {"count": count, "rounds": rounds, "slow": slow}
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    for name, value in figures.items():
        click.echo(f"{value:8.3f}  {name}")
    for name, share in shares.most_common(14):
        click.echo(f"{share:7.1%}  {name}")
    if out is not None:
        out.write_text(json.dumps({**figures, "profile": shares, "machine": facts}, indent=1) + "\n", "utf-8")


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """The address of a server that answers after so many seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, latency), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _serve(pipe: Connection, latency: float) -> None:
    def answer(_: dict[str, Any]) -> str:
        time.sleep(latency)
        return _TEXT

    with FaultServer(answer) as server:
        pipe.send(server.url)
        pipe.recv()


def requests(count: int) -> list[Request]:
    """Questions that differ."""
    return [
        Request("response", f"{at:032x}", 0, (Turn("user", f"{at}: {_TEXT}"),), Sampling(max_tokens=512))
        for at in range(count)
    ]


def sides(url: str, count: int, concurrency: int) -> Works:
    """So many calls of each side."""
    return {"plain": partial(plain, url, count, concurrency), "ours": partial(ours, url, count, concurrency)}


def teacher(url: str) -> LiteLLMTeacher:
    """A model with a price, so that money is counted."""
    return LiteLLMTeacher(LiteLLMSettings("openai/gpt-4o-mini", url, structured=False))


def plain(url: str, count: int, concurrency: int) -> None:
    """The calls alone: the same arguments to `litellm.acompletion`."""
    asyncio.run(_plain(teacher(url), count, concurrency))


async def _plain(asked: LiteLLMTeacher, count: int, concurrency: int) -> None:
    acompletion = _litellm().acompletion
    waiting = iter(requests(count))

    async def worker() -> None:
        for request in waiting:
            await acompletion(**asked._arguments(request))

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    await asked.aclose()


def ours(url: str, count: int, concurrency: int) -> None:
    """The calls of a run, with a ledger on disk, a budget, and garbage looked for as in a run."""
    with tempfile.TemporaryDirectory() as place, seldom_collected(), Ledger.writing(Path(place, "l.sqlite")) as ledger:
        asyncio.run(_ours(teacher(url), ledger, count, concurrency))


async def _ours(asked: LiteLLMTeacher, ledger: Ledger, count: int, concurrency: int) -> None:
    limits = Limits(concurrency=concurrency, budget_usd=1e6)
    budget = budget_of(asked, ledger, limits.budget_usd)
    answers = Answers(asked, ledger, Sending(asked, ledger, limits, budget, Reporters([]), StopSignal()))
    waiting = iter(requests(count))

    async def worker() -> None:
        for request in waiting:
            answer = await answers.answer(request, first=True)
            assert answer.reply is not None, answer.error

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    await answers.close()


def profile(work: Any) -> Counter[str]:
    """Share of the event loop's time in each package, in this framework's modules each."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    found: Counter[str] = Counter()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        found[_package(file, name)] += own
    found.pop("waiting", None)
    total = found.total()
    return Counter({name: own / total for name, own in found.items()})


def _package(file: str, name: str) -> str:
    if "poll" in name or "acquire" in name:
        return "waiting"
    parts = Path(file).parts
    if "rt_framework" in parts:
        return ".".join(parts[parts.index("rt_framework") :]).removesuffix(".py")
    for mark in ("site-packages", _STDLIB):
        if mark in parts:
            return parts[parts.index(mark) + 1].removesuffix(".py")
    return "built-in"


if __name__ == "__main__":
    main()
