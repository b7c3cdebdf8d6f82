"""Does what the student chose train it better? `python -m benchmarks.evidence.training --data DIR --model M --out DIR`.

Prepares the samples and the recorded teacher, runs the pipeline, and calls `rt prove` with the settings of plan.yaml.
Each part goes on where it was stopped; trainings whose numbers stand in `measured/units` are not done again. M is a hub
id or a folder with safetensors. On a GPU the same command trains a larger student. Needs the package rt-prove.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from attrs import frozen

from benchmarks.evidence.commands import rt
from benchmarks.evidence.pairs import drawn
from rt_framework import Pair

MEASURED = Path(__file__).parent / "measured" / "units"
"""Numbers of the trainings of the study, a file each."""

PLAN = yaml.safe_load(Path(__file__).with_name("plan.yaml").read_text("utf-8"))["training"]


@frozen
class Material:
    """A row of Alpaca with the rewrites that there are of it, inputs folded into the instructions."""

    number: int
    """Place of the row in the whole set."""
    raw: Pair
    revised: Pair | None
    """The version of a human expert."""
    stronger: Pair | None
    """The answer of a stronger model to the raw instruction."""


def folded(row: Mapping[str, str], output: str | None = None) -> Pair:
    """Return a row as a pair without an input, which stands below the instruction instead.

    A rewritten instruction stands alone, so that the versions of a sample would otherwise differ in their form.
    """
    instruction = "\n\n".join(filter(None, (row["instruction"].strip(), row["input"].strip())))
    return Pair(instruction, "", row["output"] if output is None else output)


def materials(folder: Path) -> list[Material]:
    """Return all rows that have a rewrite, in the order of the whole set; of several of a kind the first one counts."""
    revisions: dict[int, Pair] = {}
    answers: dict[int, str] = {}
    for row in json.loads((folder / "rewrites" / "expert_revisions.json").read_text("utf-8")):
        if row["raw"] != row["revised"]:
            revisions.setdefault(row["alpaca_row"], folded(row["revised"]))
    for row in json.loads((folder / "rewrites" / "stronger_answers.json").read_text("utf-8")):
        answers.setdefault(row["alpaca_row"], row["output"])
    found = []
    for number, row in enumerate(alpaca(folder)):
        revised, answer = revisions.get(number), answers.get(number)
        if revised or answer:
            found.append(Material(number, folded(row), revised, folded(row, answer) if answer else None))
    return found


def alpaca(folder: Path) -> list[dict[str, str]]:
    """Return the whole Alpaca set."""
    with gzip.open(folder / "alpaca_52k.json.gz", "rt", encoding="utf-8") as file:
        rows: list[dict[str, str]] = json.load(file)
    return rows


def recorded(material: Material) -> Iterator[tuple[str, Pair, Pair]]:
    """Yield what the teacher answers about a row: reflection, version that was asked about, rewrite.

    An expert's revision with a new instruction answers the instruction reflection. The response reflection is answered
    by the stronger model, else by the expert, where the expert left the instruction as it was.
    """
    revised, raw = material.revised, material.raw
    if revised and revised.instruction != raw.instruction:
        yield "instruction", raw, revised
    better = material.stronger or (revised if revised and revised.instruction == raw.instruction else None)
    if better:
        yield "response", raw, better


def prepare(data: Path, out: Path) -> dict[str, Path]:
    """Write the samples, the teacher's answers and the held-out sets, and return their paths."""
    known = materials(data)
    numbers = {one.number for one in known}
    counts = PLAN["held_out"]
    experts = drawn([one for one in known if one.revised], counts["experts"], "held out")
    left = [one for one in known if one not in experts]
    samples = drawn(left, PLAN["rows"], "samples")
    plain = [folded(row) for number, row in enumerate(alpaca(data)) if number not in numbers and row["output"].strip()]
    prompts = json.loads((data / "eval" / "alpaca_eval_805.json").read_text("utf-8"))
    strong = [Pair(row["instruction"], "", row["outputs"]["gpt4"]) for row in prompts]
    sets: dict[str, list[Pair]] = {
        "samples": [one.raw for one in samples],
        "strong": drawn(strong, counts["strong"], "held out"),
        "experts": [one.revised for one in experts if one.revised],
        "original": drawn(plain, counts["original"], "held out"),
    }
    paths = {name: out / f"{name}.jsonl" for name in (*sets, "answers")}
    for name, pairs in sets.items():
        _write(paths[name], ({"instruction": one.instruction, "input": "", "output": one.response} for one in pairs))
    _write(paths["answers"], (_answer(*one) for material in samples for one in recorded(material)))
    return paths


def _answer(reflection: str, asked: Pair, rewrite: Pair) -> dict[str, Any]:
    new = {"instruction": rewrite.instruction} if reflection == "instruction" else {}
    parts = {"critique": "as recorded", **new, "response": rewrite.response}
    return {"reflection": reflection, "pair": asked.hash, "index": 0, "text": json.dumps(parts)}


def _write(path: Path, rows: Iterator[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def config(paths: Mapping[str, Path], model: str) -> dict[str, Any]:
    """Return the job of the run."""
    return {
        "data": {"path": str(paths["samples"])},
        "teacher": {"replay": {"path": str(paths["answers"]), "structured": True}},
        "student": {"hf": {"model": model, "dtype": PLAN["dtype"]}},
        "scoring": {"preset": "chat"},
        "pipeline": {"use": "selective-rt", "exhaustive": True},
    }


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder with the data sets.")
@click.option("--model", required=True, help="The student: a hub id, or a folder with safetensors.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for everything that is written.")
@click.option("--dry-run", is_flag=True, help="After the run, measure how long the trainings take, and stop.")
def main(data: Path, model: str, out: Path, dry_run: bool) -> None:
    """Run the pipeline over recorded rewrites, train all arms, and print every cell."""
    out.mkdir(parents=True, exist_ok=True)
    paths = prepare(data, out)
    job = out / "job.yaml"
    job.write_text(yaml.safe_dump(config(paths, model), sort_keys=False), "utf-8")
    rt("run", job, "--run-dir", out / "run")
    (out / "run" / "proof").mkdir(exist_ok=True)
    for unit in MEASURED.glob("*.json"):  # the name of a unit has a hash of everything that decides its numbers
        shutil.copy(unit, out / "run" / "proof")
    held_out = [word for name in PLAN["held_out"] for word in ("--held-out", f"{name}={paths[name]}")]
    rates = ",".join(map(str, PLAN["learning_rates"]))
    rt(
        *("prove", out / "run", "--model", model, *held_out, "--arms", ",".join(PLAN["arms"])),
        *("--samples", PLAN["samples"], "--seeds", PLAN["seeds"], "--lr", rates, "--epochs", PLAN["epochs"]),
        *("--batch-size", PLAN["batch_size"], "--dtype", PLAN["dtype"], *(("--dry-run",) if dry_run else ())),
    )


if __name__ == "__main__":
    main()
