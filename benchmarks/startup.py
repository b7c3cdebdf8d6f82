"""The start of `rt`, against the import of three libraries that it stands on: `python -m benchmarks.startup`.

Each call is a process of its own. The calls take turns, after a round that stores their bytecode.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

LIBRARIES = "import click, attrs, pluggy"
COMMANDS = ("--help", "plugins list")


@click.command(help=__doc__)
@click.option("--rounds", default=20, show_default=True)
@click.option(
    "--beside", type=click.Path(exists=True, file_okay=False), help="Root of another checkout to measure too."
)
def main(rounds: int, beside: str | None) -> None:
    """Measure and print, for each call, how many times as long as the import it takes."""
    calls = {LIBRARIES: ([LIBRARIES], ".")}
    for root in (".", beside) if beside else (".",):
        for words in COMMANDS:
            code = "from rt_framework.cli import main; main()"
            calls[f"rt {words}" + ("" if root == "." else f" in {root}")] = ([code, *words.split()], root)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, (words_of, root) in calls.items():
            took = seconds(words_of, root)
            if turn:
                times[name].append(took)
    base = times[LIBRARIES]
    click.echo("  time  processor time, × the import")
    for name, found in times.items():
        clock, processor = (_middle(found, at) / _middle(base, at) for at in (0, 1))
        click.echo(f"{clock:6.2f} {processor:6.2f}  {name}")


def seconds(code: Sequence[str], root: str) -> tuple[float, float]:
    """Return the seconds and the processor seconds of Python with *code*, importing from the checkout *root*."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"PYTHONPATH": str(Path(root).resolve())}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-P", "-c", *code]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _middle(found: Sequence[tuple[float, float]], at: int) -> float:
    return statistics.median(one[at] for one in found)


if __name__ == "__main__":
    main()
