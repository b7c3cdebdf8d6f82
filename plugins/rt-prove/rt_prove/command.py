"""The command ``rt prove``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from rt_compare.judge_options import judge_options
from rt_framework import RtError
from rt_framework.cli.options import (
    ChoosingCommand,
    Destination,
    Host,
    Whole,
    claim,
    json_option,
    moved_option,
    name_option,
    pairs,
    parts,
    paths_in,
    print_json,
    whole,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rt_framework.kit.proofs import Proof
    from rt_framework.results import FinishedRun
    from rt_prove.arms import Arms
    from rt_prove.judging import Judging
    from rt_prove.settings import Generation, Learner
    from rt_prove.training import Tokens
    from rt_prove.units import Plan, Unit

ALL_ARMS = "kept,original,all-rewrites,random-version,random,length-matched"

OF_THE_JUDGE = ("judge", "judge_dir", "concurrency", "budget_usd", "elsewhere", "moved")
"""Arguments of the command that are about the judge."""


@click.command(cls=ChoosingCommand, choices={"judge": "teachers"})
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--model", required=True, metavar="MODEL", help="Model to train: a hub id, or a folder with safetensors.")
@click.option(
    "--held-out",
    "held_out",
    multiple=True,
    metavar="NAME=FILE",
    help="Prompts with responses whose loss is measured; may be given more than once.",
)
@click.option(
    "--arms",
    "arm_names",
    default=ALL_ARMS,
    show_default=True,
    metavar="NAME,…",
    help="What to train on; echo-matched is one more.",
)
@click.option("--samples", type=Whole(2), help="Samples of each arm; default: the least that all arms have.")
@click.option("--seeds", type=Whole(1), default=3, show_default=True, help="Number of trainings of each arm.")
@click.option("--lr", "rates", default="1e-4,3e-4", show_default=True, metavar="NUMBER,…", help="Learning rates.")
@click.option("--epochs", type=Whole(1), default=1, show_default=True, help="Passes over the samples.")
@click.option("--batch-size", type=Whole(1), default=8, show_default=True, help="Samples of a step.")
@click.option(
    "--accumulate", type=Whole(1), default=1, show_default=True, help="Parts of a step, where memory is short."
)
@click.option("--max-length", type=Whole(16), default=1024, show_default=True, help="Longest sample in tokens.")
@click.option("--full", is_flag=True, help="Train all weights instead of a LoRA adapter of rank 16.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="Number format of the weights; auto is bfloat16 on CUDA and float32 elsewhere.",
)
@click.option("--draw-seed", type=Whole(), default=0, show_default=True, help="Seed of the draws of the arms.")
@click.option(
    "--outcome", "outcome_names", multiple=True, metavar="NAME", help="Outcome of another package to measure too."
)
@click.option(
    "--generate", "prompts", type=Whole(1), metavar="N", help="Let every trained model answer N prompts of each set."
)
@click.option("--max-tokens", type=Whole(1), help="Longest answer in tokens; default: 256.")
@name_option(
    "--judge", names=parts("teachers"), metavar="NAME:MODEL", help="Teacher that judges the answers, for money."
)
@judge_options
@click.option(
    "--run-dir",
    "judge_dir",
    type=click.Path(path_type=Path),
    help="Directory for the judge's answers; default: RUN_DIR/proof/judge.",
)
@click.option("--unit", "part", metavar="I/N", help="Do only every N-th training, from the I-th on.")
@click.option("--dry-run", is_flag=True, help="Show arms and sizes, and measure how long it takes; keep nothing.")
@moved_option
@json_option
@click.pass_obj
def command(
    host: Host,
    /,
    run_dir: Path,
    model: str,
    held_out: tuple[str, ...],
    dtype: str,
    part: str | None,
    dry_run: bool,
    as_json: bool,
    **asked: Any,
) -> int:
    """Train small on what a run kept and on its controls, and compare the trained models on held-out data.

    RUN_DIR is a finished run. Each training is a unit of work that is stored in RUN_DIR/proof when it is done: the same
    command goes on after a stop. The result is RUN_DIR/proof.json, which 'rt report' and the data card show too.

    With --generate and --judge a teacher marks the answers of 'kept' and 'all-rewrites' against those of each control,
    in both orders. The options of the judge are options too: 'rt prove RUN_DIR --judge litellm:MODEL --help' lists
    --judge-api-base and others.
    """
    from rt_framework.errors import Interrupted
    from rt_framework.kit.stdout import all_to_stderr
    from rt_framework.terminal.printing import stdout
    from rt_prove.options import generation_of, judging_of
    from rt_prove.settings import Learner

    if as_json and dry_run:
        raise click.UsageError("--json prints the proof, and --dry-run makes none; give one of them")
    learner = Learner.named(model, dtype)
    files = pairs(held_out, "--held-out")
    if len(files) < len(held_out):
        raise click.UsageError("--held-out: two sets have one name")
    generation = generation_of(asked.pop("prompts"), asked.pop("max_tokens"))
    judging = judging_of(host, run_dir, generation, **{name: asked.pop(name) for name in OF_THE_JUDGE})
    _claim(run_dir, files, judging)
    try:
        with all_to_stderr(as_json):
            code, result = _prove(
                host, run_dir, learner, files, judging, part, dry_run, stdout(), generation=generation, **asked
            )
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished stays, and the same command goes on") from None
    if as_json:
        print_json(result)
    return code


def _prove(
    host: Host,
    run_dir: Path,
    learner: Learner,
    files: Mapping[str, str],
    judging: Judging | None,
    part: str | None,
    dry_run: bool,
    console: Console,
    **asked: Any,
) -> tuple[int, Mapping[str, Any]]:
    """Train, measure and judge what is not there yet, and write and print the proof; on a dry run only tell.

    Returns:
        1 if the judge met errors, so that the same command has questions left, otherwise 0; and the result for a
        program.

    Raises:
        RtError: something cannot be read, trained or judged; what is finished stays.
    """
    from rt_framework.results import open_run
    from rt_framework.terminal.printing import line
    from rt_prove.judging import judged, show_calls
    from rt_prove.rehearsal import show_rehearsal
    from rt_prove.results import proof_of
    from rt_prove.tables import show_proof

    with open_run(run_dir, host) as run:
        plan, arms, tokens = _planned(host, run, learner, files, console, **asked)
        conclude = partial(proof_of, run.identity, plan, arms, tokens)
    units = list(plan.units())
    if not dry_run:
        _do(plan, units, part, console)
    done = [(unit, measured) for unit in units if (measured := plan.found(unit)) is not None]
    is_whole, counts = len(done) == len(units), {"units": len(units), "finished": len(done), "proof": None}
    if dry_run:
        show_rehearsal(plan, tokens, units, console)
        if judging is not None:
            show_calls(host, judging, plan, conclude(done).best if is_whole else None, done, console)
        return 0, counts
    if part is not None or not is_whole:
        console.print(f"{len(done)} of {len(units)} units are finished; the command without --unit collects them")
        return 0, counts
    proof, errors = conclude(done), 0
    _write(run_dir, proof)  # before the judge, which may end early: what hours of training have shown is not lost
    if judging is not None:
        proof, errors = judged(host, judging, plan, proof, done, console)
        _write(run_dir, proof)
    show_proof(console, proof)
    console.print(line(f"wrote {_proof(run_dir)}; 'rt report {run_dir}' shows it"))
    return int(errors > 0), {**counts, "proof": json.loads(proof.text())}


def _proof(run_dir: Path) -> Destination:
    from rt_framework.kit.proofs import PROOF

    return Destination(run_dir / PROOF, record=run_dir)


def _claim(run_dir: Path, files: Mapping[str, str], judging: Judging | None) -> None:
    """Claim the proof, and the directory of the judge's answers.

    Raises:
        ConfigError: a destination must not be written.
        DiskError: a destination cannot be written.
    """
    own = [] if judging is None else [Destination(judging.run_dir, "--run-dir", "run")]
    claim([_proof(run_dir), *own], map(Path, files.values()), paths_in(judging and judging.teacher))


def _planned(
    host: Host,
    run: FinishedRun,
    learner: Learner,
    files: Mapping[str, str],
    console: Console,
    generation: Generation | None,
    arm_names: str,
    samples: int | None,
    seeds: int,
    rates: str,
    draw_seed: int,
    outcome_names: Sequence[str],
    **training: Any,
) -> tuple[Plan, Arms, dict[str, Tokens]]:
    """Return the plan, its arms and their tokens, and print them.

    Raises:
        RtError: an option is wrong, or something cannot be read.
    """
    from rt_prove.arms import arms_of
    from rt_prove.held_out import held_out_sets
    from rt_prove.options import arm_names_of, outcomes_of, rates_of
    from rt_prove.settings import Training
    from rt_prove.tables import show_arms
    from rt_prove.training import count_tokens
    from rt_prove.units import Plan

    settings = Training(**training)
    if settings.batch_size % settings.accumulate:
        raise click.UsageError("--accumulate must divide --batch-size")
    grid, names, outcomes = rates_of(rates), arm_names_of(arm_names), outcomes_of(outcome_names, files)
    run.manifest  # noqa: B018 - a run that is not finished is refused
    arms = arms_of(run, host, names, samples, draw_seed)
    sets = held_out_sets(host, files, arms.made)
    tokens = {arm.name: count_tokens(learner, arm.pairs, settings) for arm in arms.made}
    decided = {"settings": settings, "arms": arms.made, "sets": sets, "outcomes": outcomes, "rates": grid}
    plan = Plan.of(host, run.path, learner, seeds=tuple(range(seeds)), generation=generation, **decided)
    show_arms(console, arms, tokens, sets, plan.prompts)
    _check_lost(tokens, settings.max_length)
    return plan, arms, tokens


def _check_lost(tokens: Mapping[str, Tokens], max_length: int) -> None:
    """Refuse samples whose prompts fill the longest sequence: a training on nothing has no loss."""
    lost = ", ".join(f"{count.lost} of {name}" for name, count in tokens.items() if count.lost)
    if lost:
        raise RtError(f"--max-length {max_length}: nothing is left of the responses of some samples: {lost}")


def _do(plan: Plan, units: Sequence[Unit], part: str | None, console: Console) -> None:
    """Do the units that are not finished, with a line for each."""
    from statistics import fmean

    from rt_framework.terminal.printing import line
    from rt_prove.units import share

    for unit in share(units, part):
        place, begun = f"[{units.index(unit) + 1}/{len(units)}] {unit.label}", perf_counter()
        if plan.found(unit) is not None:
            console.print(line(f"{place}: found"))
            continue
        measured = plan.work(unit)
        numbers = {name: [one for one in found if one is not None] for name, found in measured.numbers.items()}
        means = ", ".join(f"{name} {fmean(found):.4f}" for name, found in numbers.items() if found)
        console.print(line(f"{place}: {means} ({perf_counter() - begun:.0f} s)"))


def _write(run_dir: Path, proof: Proof) -> None:
    with whole(_proof(run_dir)) as written:
        written.write_text(proof.text(), "utf-8")
