"""Does the student agree with people? `python -m benchmarks.evidence.agreement --data DIR --model M --out DIR`.

The versions of every comparison are scored by `rt score`, which goes on where it was stopped, and the compared numbers
are written to DIR/values.json. `--values measured/values.json` prints the tables from the numbers of the study, without
data or model. Scoring needs PYTHONPATH=plugins/rt-metrics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from attrs import frozen

from benchmarks.evidence.commands import rt
from benchmarks.evidence.pairs import SETS, drawn
from benchmarks.evidence.statistics import Estimate, Numbers, auc, correlation, preference, share

PLAN = yaml.safe_load(Path(__file__).with_name("plan.yaml").read_text("utf-8"))["agreement"]

LOGS = frozenset({"ifd", "r-ifd", "r-ifd-novel", "length"})
"""Metrics that are compared as logarithms."""

Values = Mapping[str, float | None]
"""The scores of one version by metric, as they are compared."""


@frozen
class Scored:
    """A comparison with the scores of its two versions."""

    worse: Values
    better: Values
    same_question: bool
    first_half: bool

    def difference(self, metric: str) -> float | None:
        """Return the value of the better side minus that of the worse one; ``None`` if a side has no value."""
        better, worse = self.better.get(metric), self.worse.get(metric)
        return None if better is None or worse is None else better - worse


def scored(folder: Path, data: Path, name: str, preset: str, model: str) -> list[Scored]:
    """Return the comparisons of a set with their scores by one preset; what was scored before is read."""
    comparisons = drawn(list(SETS[name](data)), PLAN["sets"][name], name)
    rows = folder / f"{name}.jsonl"
    texts = (pair for comparison in comparisons for pair in (comparison.worse, comparison.better))
    lines = [json.dumps({"instruction": p.instruction, "input": p.input, "output": p.response}) for p in texts]
    rows.write_text("\n".join(lines) + "\n", "utf-8")
    out = folder / f"{name}.{preset}.scores.jsonl"
    template = PLAN["presets"][preset]
    framing = () if template == "chat" else ("--template", template)
    metrics = (word for metric in PLAN["metrics"] for word in ("--metric", metric))
    rt(
        *("-p", "rt_metrics", "score", rows, "--student", f"hf:{model}", "--preset", preset, *framing),
        *(*metrics, "--out", out),
    )
    values = [_values(json.loads(line)["metrics"]) for line in out.read_text("utf-8").splitlines()]
    sides = zip(values[::2], values[1::2], strict=True)
    return [
        Scored(worse, better, one.same_question, _half(name, place))
        for place, (one, (worse, better)) in enumerate(zip(comparisons, sides, strict=True))
    ]


def _half(name: str, place: int) -> bool:
    return blake2b(f"{name} {place}".encode(), digest_size=1).digest()[0] % 2 == 0


def _values(metrics: Mapping[str, Any]) -> Values:
    """Return the values as they are compared: ratios and lengths as logarithms."""
    numbers = {name: None if value is None else float(value) for name, value in metrics.items()}
    logs = {
        name: math.log(value) if value is not None and name in LOGS and value > 0 else value
        for name, value in numbers.items()
    }
    # Seven digits, as many as float32 has, so that the written numbers give the same tables.
    return {name: None if value is None else float(f"{value:.7g}") for name, value in logs.items()}


def columns(comparisons: Sequence[Scored], *metrics: str) -> Numbers:
    """Return the differences by these metrics, of the comparisons that have all of them: [comparisons, metrics]."""
    rows = ([one.difference(metric) for metric in metrics] for one in comparisons)
    return np.array([row for row in rows if None not in row], dtype=np.float64).reshape(-1, len(metrics))


def line(comparisons: Sequence[Scored], metric: str) -> dict[str, Any]:
    """Return everything that the table says of one metric."""
    sign = 1 if PLAN["better"][metric] == "higher" else -1
    alone = columns(comparisons, metric)[:, 0]
    beside = {"alone": (), "length": ("length",), "echo": ("echo",), "both": ("length", "echo")}
    coefficients = {
        name: sign_of(preference(columns(comparisons, metric, *others))[0], sign)
        for name, others in beside.items()
        if metric not in others
    }
    return {
        "metric": metric,
        "comparisons": len(alone),
        "left out": len(comparisons) - len(alone),
        "share": share(sign * alone),
        "auc": auc(sign * alone),
        **coefficients,
        **{f"r({other})": correlation(*columns(comparisons, metric, other).T) for other in ("length", "echo")},
    }


def sign_of(estimate: Estimate, sign: int) -> Estimate:
    """Return a coefficient of a metric as one of its better side."""
    return estimate if sign > 0 else Estimate(-estimate.value, -estimate.high, -estimate.low)


def word(comparisons: Sequence[Scored]) -> Estimate:
    """Return how often the pipeline's rule has the better side: higher IFD for a new instruction, else lower r-IFD."""
    differences = [
        found if metric == "ifd" else -found
        for one in comparisons
        for metric in ("r-ifd" if one.same_question else "ifd",)
        if (found := one.difference(metric)) is not None
    ]
    return share(np.array(differences))


def rule(comparisons: Sequence[Scored]) -> str:
    """Return the rule that is chosen on the first half of the comparisons, and what it is worth on the second."""
    halves = [[one for one in comparisons if one.first_half is first] for first in (True, False)]

    def beside_both(half: Sequence[Scored], metric: str) -> Estimate:
        return preference(columns(half, metric, "length", "echo"))[0]

    first = {metric: beside_both(halves[0], metric) for metric in PLAN["rule"]["candidates"]}
    chosen = max(first, key=lambda metric: abs(first[metric].value) / (first[metric].high - first[metric].low))
    sign = 1 if first[chosen].value > 0 else -1
    found = sign_of(beside_both(halves[1], chosen), sign)
    way = "higher" if sign > 0 else "lower"
    return f"{chosen} {way}: {sign_of(first[chosen], sign)} on the half that chose it, {found} on the other"


def table(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    names = list(dict.fromkeys(name for row in lines for name in row))
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in lines:
        yield f"| {' | '.join(_cell(row.get(name)) for name in names)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:+.2f}" if isinstance(value, float) else str(value)


def written(tables: Mapping[str, Sequence[Scored]]) -> str:
    """Return the compared numbers of all tables as JSON, a comparison a line, by the order of the plan's metrics."""

    def row(one: Scored) -> str:
        sides = ([side.get(metric) for metric in PLAN["metrics"]] for side in (one.worse, one.better))
        return json.dumps([*sides, one.same_question, one.first_half], separators=(",", ":"))

    lines = (f'"{name}": [\n' + ",\n".join(map(row, comparisons)) + "\n]" for name, comparisons in tables.items())
    return "{" + ",\n".join(lines) + "}\n"


def measured(path: Path) -> dict[str, list[Scored]]:
    """Return the compared numbers that :func:`written` has written."""

    def named(side: Sequence[float | None]) -> Values:
        return dict(zip(PLAN["metrics"], side, strict=True))

    raw = json.loads(path.read_text("utf-8"))
    return {
        name: [Scored(named(worse), named(better), *rest) for worse, better, *rest in comparisons]
        for name, comparisons in raw.items()
    }


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Folder with the data sets.")
@click.option("--model", help="The student: hub id, directory or GGUF file.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for scores and numbers.")
@click.option("--values", type=click.Path(path_type=Path, exists=True), help="Numbers of an earlier call.")
def main(data: Path | None, model: str | None, out: Path | None, values: Path | None) -> None:
    """Score all comparisons, or read what was measured, and print every table."""
    if values is not None:
        tables = measured(values)
    elif data is not None and model is not None and out is not None:
        out.mkdir(parents=True, exist_ok=True)
        keys = [(preset, name) for preset in PLAN["presets"] for name in SETS]
        tables = {f"{name}, preset {preset}": scored(out, data, name, preset, model) for preset, name in keys}
        (out / "values.json").write_text(written(tables), "utf-8")
    else:
        raise click.UsageError("give --data, --model and --out, or --values")
    for title, comparisons in tables.items():
        click.echo(f"\n### {title}: {len(comparisons):,} comparisons\n")
        for text in table([line(comparisons, metric) for metric in PLAN["metrics"]]):
            click.echo(text)
        click.echo(f"\nThe pipeline's word has the better side: {word(comparisons)}.")
        click.echo(f"Rule: {rule(comparisons)}.")


if __name__ == "__main__":
    main()
