"""Processor time and memory of each command as the number of samples grows: `python -m benchmarks.growth`.

Each point, a command over so many samples, is a process of its own, as a user starts it; a fake teacher and a fake
student stand in for the models. What a point took is added to the figures at once, and a point that is there is not
measured again, so an interrupted measurement goes on with the same command. Start-up is measured with ten samples and
taken off. A run of 100,000 samples takes a gigabyte and a quarter of an hour, and stays in the folder for the commands
that read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cattrs
import click
from attrs import asdict, frozen

from benchmarks.curves import Curve, Plot, draw
from benchmarks.flat import PER_SAMPLE
from rt_framework import hookimpl
from rt_framework.model import Reply, Request

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FEW = 10
"""Samples of the point that stands for the start-up."""

TIMES = 9
"""Times that a short point is measured."""

COMMANDS = ("score", "select", "start", "run", "report", "export", "compare")
"""Each uses what those before it have left. *start* is `rt run` until its first question."""

_ROOT = Path(__file__).resolve().parent.parent
_SYLLABLES = [one + two for one in "bdfgklmn" for two in "ae"]

# --- parts that need no model -----------------------------------------------------------------


def text(key: str, words: int) -> str:
    """A text that depends on its key, and shares no three words in a row with that of another key."""
    stream = hashlib.shake_128(key.encode()).digest(2 * words)
    return " ".join(_word(stream[at] << 8 | stream[at + 1]) for at in range(0, 2 * words, 2))


def _word(number: int) -> str:
    return "".join(_SYLLABLES[number >> shift & 15] for shift in (0, 4, 8))


class Teacher:
    """Answers with a text that depends on the request alone, and remembers nothing."""

    identity = "growth"
    structured = True

    async def complete(self, request: Request) -> Reply:
        """A well-formed answer."""
        about = f"{request.reflection} {request.pair_hash}"
        parts = {"critique": "Seen.", "instruction": text(f"new {about}", 12), "response": text(about, 24)}
        wanted = (request.schema or {}).get("properties", parts)
        return Reply(json.dumps({name: parts[name] for name in wanted}), model=self.identity)


class FirstQuestion(Teacher):
    """A teacher at whose first question the process ends."""

    async def complete(self, request: Request) -> Reply:  # noqa: ARG002 - nobody waits for the answer
        """End the process."""
        os._exit(0)


@hookimpl
def rt_register_students(register: Callable[..., None]) -> None:
    """Offer the student."""
    register("flat", "benchmarks.flat:Student", help="the benchmark's")


@hookimpl
def rt_register_teachers(register: Callable[..., None]) -> None:
    """Offer the teachers."""
    register("growth", "benchmarks.growth:Teacher", help="the benchmark's")
    register("first-question", "benchmarks.growth:FirstQuestion", help="the benchmark's")


# --- what the commands read and write ---------------------------------------------------------


@frozen
class Place:
    """The folder of the files of all points with one number of samples."""

    folder: Path
    samples: int

    @property
    def rows(self) -> Path:
        """The data."""
        return self.folder / "rows.jsonl"

    def write_rows(self) -> None:
        """Write rows whose texts have nothing in common; one in two hundred occurs twice."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.rows.open("w", encoding="utf-8") as file:
            for number in range(self.samples):
                own = number if number % 100 else number // 2
                row = {"instruction": text(f"q{own}", 12), "input": "", "output": text(f"a{own}", 24)}
                file.write(json.dumps(row) + "\n")

    def arguments(self, command: str) -> list[str]:
        """Return the arguments of `rt` for a command."""
        top = "{top: {metric: ifd, fraction: 0.1}}"
        run, scores, new = (str(self.folder / name) for name in ("run", "scores.jsonl", "new"))
        rows, scoring = str(self.rows), ("--student", "flat", "--preset", "superfiltering", "--template", "alpaca")
        return {
            "score": ["score", rows, "--metric", "ifd", *scoring, "--out", scores],
            "select": ["select", rows, "--scores", scores, "--by", top, "--out", f"{new}.jsonl"],
            "start": ["run", self._config("first-question"), "--run-dir", new],
            "run": ["run", self._config("growth"), "--run-dir", run],
            "report": ["report", run, "--out", f"{new}.html"],
            "export": ["export", run, "--out", f"{new}.jsonl"],
            "compare": ["compare", rows, run, "--json"],
        }[command]

    def clear(self, command: str) -> None:
        """Remove what an earlier call of the command has left."""
        shutil.rmtree(self.folder / ("run" if command == "run" else "new"), ignore_errors=True)
        names = ("scores.jsonl", "scores.jsonl.rt") if command == "score" else ("new.jsonl", "new.html")
        for path in (self.folder / name for name in names):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _config(self, teacher: str) -> str:
        raw = {
            "data": {"path": str(self.rows)},
            "teacher": teacher,
            "student": "flat",
            "scoring": {"preset": "superfiltering", "template": "alpaca"},
            "pipeline": PER_SAMPLE,
            # An answer of the fake is there at once; with few at a time the run would wait for the disk alone.
            "limits": {"concurrency": 256},
        }
        path = self.folder / f"{teacher}.yaml"
        path.write_text(json.dumps(raw), "utf-8")
        return str(path)


# --- measuring --------------------------------------------------------------------------------


@frozen
class Point:
    """Time and memory that a command over so many samples took."""

    command: str
    samples: int
    processor: float
    """Seconds of the process and its children, in all threads; the median where it was measured several times."""
    elapsed: float
    peak: int
    """Most bytes that the process held, all libraries included; Linux counts no less than the benchmark itself held."""
    disk: int
    """Most bytes that it had in temporary files that were open at one time; seen twenty times a second."""


def measured(place: Place, command: str) -> Point:
    """Measure one point: several times where it is short, since its start-up then is as long as its work."""
    place.clear(command)
    points = [_once(place, command)]
    while len(points) < min(TIMES, 20_000 // place.samples):
        place.clear(command)
        points.append(_once(place, command))
    return sorted(points, key=lambda point: point.processor)[len(points) // 2]


def _once(place: Place, command: str) -> Point:
    program = [sys.executable, "-c", "from rt_framework.cli import main; main()", "-p", "benchmarks.growth"]
    scratch = place.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    start, disk = time.perf_counter(), 0
    with (place.folder / "said.txt").open("w+b") as said:
        environment = os.environ | {"TMPDIR": str(scratch.resolve())}
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [*program, *place.arguments(command)], cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=said, env=environment
        )
        ended = 0
        while not ended:
            time.sleep(0.05)
            disk = max(disk, sum(_open_files(process.pid, scratch.resolve())))
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise click.ClickException(said.read().decode())
    processor, elapsed = used.ru_utime + used.ru_stime, time.perf_counter() - start
    return Point(command, place.samples, processor, elapsed, used.ru_maxrss * 1024, disk)


def _open_files(process: int, folder: Path) -> Iterator[int]:
    """Yield the size of each file in a folder that a process has open, also of those that have no name any more."""
    try:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            if str(descriptor.readlink()).startswith(str(folder)):
                yield descriptor.stat().st_size
    except OSError:  # the file was closed, or the process has ended, meanwhile
        return


# --- the figures ------------------------------------------------------------------------------


class Figures:
    """The points that were measured, in a file that grows by each.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        stored: list[Any] = json.loads(path.read_text("utf-8")) if path.exists() else []
        self._points = {(one["command"], one["samples"]): cattrs.structure(one, Point) for one in stored}

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in self._points

    def add(self, point: Point) -> None:
        """Add a point, and write all."""
        self._points[point.command, point.samples] = point
        points = sorted(self._points.values(), key=lambda one: (COMMANDS.index(one.command), one.samples))
        self._path.write_text("[\n" + ",\n".join(json.dumps(asdict(one)) for one in points) + "\n]\n", "utf-8")

    def of(self, command: str) -> list[Point]:
        """Return the points of a command, those of its start-up left out, by their number of samples."""
        return [self._points[command, size] for size in SIZES if (command, size) in self]

    def seconds(self, point: Point) -> float:
        """Return the processor time a sample of a point, without that of the start-up."""
        return (point.processor - self._points[point.command, FEW].processor) / (point.samples - FEW)

    def lines(self) -> Iterator[str]:
        """Yield a line for each point, and for each command how much a sample's time and memory change."""
        for command in COMMANDS:
            points = self.of(command)
            for point in points:
                yield (
                    f"{command:8} {point.samples:9,} {1e6 * self.seconds(point):9.1f} µs a sample "
                    f"{point.peak / 2**20:7.0f} MiB {point.disk / 2**20:7.0f} MiB of temporary files"
                )
            if len(points) > 1:
                few, *_, many = points
                times = [self.seconds(point) for point in points if point.samples >= 10_000] or [0.0]
                more = (many.peak - few.peak) / (many.samples - few.samples)
                apart = max(times) / min(times) - 1 if min(times) else 0
                yield f"{command}: from 10,000 on the times are {apart:.0%} apart; {more:.0f} bytes more a sample"

    def plots(self) -> list[Plot]:
        """Return the plots of time and of memory."""
        time_lines, memory_lines = [], []
        for command in COMMANDS:
            points = self.of(command)
            base = next((self.seconds(one) for one in points if one.samples == 10_000), None)
            if base is not None:
                time_lines.append(Curve(command, [(one.samples, self.seconds(one) / base) for one in points]))
                memory_lines.append(Curve(command, [(one.samples, one.peak / 2**20) for one in points]))
        return [
            Plot("Processor time a sample, × that at 10,000 samples", time_lines, (0.5, 1.5), (0.9, 1.1)),
            Plot("Peak memory of the process, MiB", memory_lines, (0, 600)),
        ]


def _prepare(place: Place, command: str) -> None:
    """Make what a command reads, where it is not there."""
    if not place.rows.exists():
        place.write_rows()
    needs = {"select": ("score", "scores.jsonl")}
    needs |= dict.fromkeys(("report", "export", "compare"), ("run", "run/manifest.json"))
    if command in needs:
        maker, made = needs[command]
        if not (place.folder / made).exists():
            click.echo(f"making {place.folder / made}", err=True)
            _once(place, maker)


@click.command(help=__doc__)
@click.option("--command", "commands", multiple=True, type=click.Choice(COMMANDS), help="One alone; default: all.")
@click.option("--least", default=FEW, help="Smallest number of samples.")
@click.option("--most", default=30_000, show_default=True, help="Largest number of samples.")
@click.option("--again", is_flag=True, help="Measure these points once more, and replace them.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/growth"), show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Figures; default: figures.json in the folder.")
@click.option("--graph", type=click.Path(path_type=Path), help="Draw the figures here, as SVG.")
def main(
    commands: tuple[str, ...], least: int, most: int, again: bool, folder: Path, out: Path | None, graph: Path | None
) -> None:
    """Measure what is not measured yet, print, draw."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = Figures(out or folder / "figures.json")
    for size in (FEW, *SIZES):
        place = Place(folder.resolve() / str(size), size)
        for command in commands or COMMANDS:
            if least <= size <= most and (again or (command, size) not in figures):
                _prepare(place, command)
                click.echo(f"{command} {size:,}", err=True)
                figures.add(measured(place, command))
    for line in figures.lines():
        click.echo(line)
    if graph is not None:
        graph.write_text(draw(figures.plots(), "What a sample costs, by the number of samples"), "utf-8")


if __name__ == "__main__":
    main()
