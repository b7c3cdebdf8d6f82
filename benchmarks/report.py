"""The report of a large run: `python -m benchmarks.report --data rows.json --samples 50000`.

How long it takes to write, how large it is, and how quick it is in a browser. The rows of the data are repeated, each
made different; a fake student scores them and a teacher without a model rewrites them. The browser is the Chromium of
the machine, headless; a search is timed from the input to the list on the screen.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click
from playwright.sync_api import sync_playwright

from rt_framework.config import Config
from rt_framework.jobs.running import run
from rt_framework.plugin import Host, structure
from rt_framework.report import write_report

WORDS = ("coffee", "why", "the", "stops early begins", "zzzz", "item 4242", "e")
"""Words to search for: rare, common, several words, nothing, one sample, nearly all."""

_SEARCH = """(word) => new Promise((done) => {
  const input = document.getElementById("search");
  const start = performance.now();
  input.value = word;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
})"""

PIPELINE: list[dict[str, Any]] = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
    {"measure": ["ifd", "r-ifd"]},
    {"gate": {"ifd": {"below": 1.1}, "r-ifd": {"below": 1.1}}},
]


def make_run(data: Path, samples: int, folder: Path) -> Path:
    """A finished run over so many samples."""
    rows = json.loads(data.read_text("utf-8"))
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(samples):
            row = rows[number % len(rows)]
            file.write(json.dumps(row | {"instruction": f"{row['instruction']} (item {number})"}) + "\n")
    raw = {
        "data": {"path": str(folder / "rows.jsonl")},
        "teacher": "rewriting",
        "student": "flat",
        "scoring": {"preset": "superfiltering", "template": "alpaca"},
        "pipeline": PIPELINE,
        "limits": {"concurrency": 256},
    }
    host = Host(modules=["benchmarks.flat", "tests.rewriting_teacher"], only=[], strict=True)
    summary = asyncio.run(run(host, structure(raw, Config), folder / "run"))
    click.echo(f"{summary.total} samples: {dict(summary.outcomes)}")
    return folder / "run"


def look(page: Path) -> None:
    """Open the page and search."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("#list tbody tr", state="attached", timeout=120_000)
        listed = time.perf_counter() - start
        tab.wait_for_selector("html[data-ready]", state="attached", timeout=120_000)
        click.echo(f"list after {listed:.1f} s, texts searchable after {time.perf_counter() - start:.1f} s")
        for word in WORDS:
            took = [tab.evaluate(_SEARCH, word) for _ in range(5)]
            found = tab.locator("#count").inner_text()
            click.echo(f"search '{word}': median {median(took):.0f} ms, at most {max(took):.0f} ms, {found}")
        browser.close()


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=Path("demo/samples.json"))
@click.option("--samples", default=50_000, show_default=True)
@click.option("--keep", type=click.Path(path_type=Path), help="Where the run is, or is to be kept for another time.")
def main(data: Path, samples: int, keep: Path | None) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        done = (folder / "run" / "manifest.json").exists()
        run_dir = folder / "run" if done else make_run(data, samples, folder)
        start = time.perf_counter()
        page = write_report(run_dir)
        took, size = time.perf_counter() - start, page.stat().st_size / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"report: {took:.1f} s, {size:.1f} MB, process at most {peak:.0f} MiB, the run included")
        look(page)


if __name__ == "__main__":
    main()
