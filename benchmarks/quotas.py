"""Share of a provider's quota that is used, and of requests that it refuses: `python -m benchmarks.quotas`.

Servers on 127.0.0.1, each in a process of its own, fill a bucket of requests and one of tokens at a steady rate in real
time, and refuse what these do not hold. The teacher `litellm` asks them with the ledger, the budget and the retries of
a run. Of each provider two servers run side by side: one states its quotas in headers and says when to come again, and
one says nothing but 429, while the config states the quotas. Each provider is asked for four minutes, which makes 24.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import click
from attrs import asdict, evolve

from benchmarks.calls import teacher
from benchmarks.graph import Line, Panel, draw
from benchmarks.measure import machine
from benchmarks.provider import MOST_ANSWER, PROVIDERS, Provider, Seen, serving
from rt_framework.builtin.teachers.litellm import _litellm
from rt_framework.concurrency import StopSignal
from rt_framework.config import Limits
from rt_framework.ledger import Ledger
from rt_framework.model import Request, Sampling, Turn
from rt_framework.plugin import Reporters
from rt_framework.teacher import Answers, Sending, budget_of

AT_ONCE = 64
"""Calls under way at most."""

WAYS = ("headers", "config")
"""Where the quotas are known from: of two servers of a provider, only the first states them."""

# --- the run ----------------------------------------------------------------------------------


def questions() -> Iterator[Request]:
    """Yield questions of 50 to 500 tokens that differ."""
    luck = Random(0)  # noqa: S311 - repeatable, not secret
    number = 0
    while True:
        text = f"{number:08} " + "words and " * luck.randint(20, 200)
        yield Request("response", f"{number:032x}", 0, (Turn("user", text),), Sampling(max_tokens=MOST_ANSWER))
        number += 1


async def ask(url: str, limits: Limits, seconds: float) -> None:
    """Ask for so long, as many at once as the limiter lets through."""
    asked, waiting = teacher(url), questions()
    with tempfile.TemporaryDirectory() as folder, Ledger.writing(Path(folder) / "ledger.sqlite") as ledger:
        budget = budget_of(asked, ledger, None)
        answers = Answers(asked, ledger, Sending(asked, ledger, limits, budget, Reporters([]), StopSignal()))

        async def worker() -> None:
            for request in waiting:
                answer = await answers.answer(request, first=True)
                assert answer.reply is not None, answer.error

        workers = [asyncio.create_task(worker()) for _ in range(AT_ONCE)]
        done, _ = await asyncio.wait(workers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await answers.close()
        for one in done:
            one.result()


def limits_of(provider: Provider, way: str) -> Limits:
    """Return the limits of a config that states the quotas, or leaves that to the headers."""
    requests, of_tokens = provider.per_minute
    limits = Limits(concurrency=AT_ONCE, attempts=1000)
    if way == "headers":
        return limits
    return evolve(limits, requests_per_minute=requests, tokens_per_minute=of_tokens)


def measured(provider: Provider, seconds: float) -> dict[str, Seen]:
    """Ask two servers of a provider side by side; return what each saw, by the way in which its quotas were known."""
    with serving(provider, states=True) as one, serving(provider, states=False) as other:
        pipes = dict(zip(WAYS, (one, other), strict=True))
        urls = {way: pipe.recv() for way, pipe in pipes.items()}

        async def both() -> None:
            # Longer, since the time that counts begins with the first request, which may come late on a busy machine.
            await asyncio.gather(*(ask(urls[way], limits_of(provider, way), seconds + 5) for way in WAYS))

        try:
            asyncio.run(both())
        finally:
            for pipe in pipes.values():
                pipe.send(None)
        return {way: pipe.recv() for way, pipe in pipes.items()}


# --- figures ----------------------------------------------------------------------------------


def panel(provider: Provider, found: dict[str, Seen], seconds: float, width: float = 5.0) -> Panel:
    """Return the part of the graph about a provider: the share of its quota over time, as means of *width* seconds."""
    starts = [width * number for number in range(int(seconds / width))]
    lines = []
    for way, seen in found.items():
        points = [(start + width / 2, seen.used(provider, start, start + width)) for start in starts]
        lines.append(Line(f"from {'the ' if way == 'config' else ''}{way}", points, seen.refused))
    return Panel(str(provider), lines)


@click.command(help=__doc__)
@click.option("--seconds", default=240.0, show_default=True, help="Time for which each provider is asked.")
@click.option("--settled", default=120.0, show_default=True, help="Time from which the use of the quota is counted.")
@click.option("--graph", type=click.Path(path_type=Path), help="Draw the use of the quotas over time here, as SVG.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures here.")
def main(seconds: float, settled: float, graph: Path | None, out: Path | None) -> None:
    """Measure, print, draw, write."""
    os.environ.setdefault("OPENAI_API_KEY", "sk-benchmark")
    _litellm()  # its import takes seconds, which are no part of the first case
    facts = machine("cpu") | {"seconds": seconds, "settled": settled}
    click.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
    click.echo("share of the quota used, share of requests refused, requests:")
    figures, panels = [], []
    for provider in PROVIDERS:
        found = measured(provider, seconds)
        for way, seen in found.items():
            used, refused = seen.used(provider, settled, seconds), seen.share_refused
            count = len(seen.taken) + len(seen.refused)
            click.echo(f"{used:7.1%} {refused:7.2%} {count:6}  {provider}, known from {way}")
            figures.append({**asdict(provider), "way": way, "used": used, "refused": refused, "requests": count})
        panels.append(panel(provider, found, seconds))
    if graph is not None:
        graph.write_text(draw(panels, seconds), "utf-8")
    if out is not None:
        out.write_text(json.dumps({"cases": figures, "machine": facts}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
