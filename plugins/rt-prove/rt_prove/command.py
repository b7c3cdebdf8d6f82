"""The command ``rt prove``."""

from __future__ import annotations

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
    Limits,
    Whole,
    chosen,
    claim,
    moved_option,
    name_option,
    pairs,
    parts,
    paths_in,
    whole,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rt_framework.kit.proofs import Proof
    from rt_framework.results import FinishedRun
    from rt_prove.arms import Arms
    from rt_prove.judging import Judging
    from rt_prove.outcomes import Outcome
    from rt_prove.settings import Generation, Learner
    from rt_prove.training import Tokens
    from rt_prove.units import Plan, Unit

ALL_ARMS = "kept,original,all-rewrites,random-version,random,length-matched"


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
@click.pass_obj
def command(
    host: Host,
    /,
    run_dir: Path,
    model: str,
    held_out: tuple[str, ...],
    dtype: str,
    prompts: int | None,
    max_tokens: int | None,
    judge: str | None,
    judge_dir: Path | None,
    concurrency: int,
    budget_usd: float | None,
    elsewhere: tuple[str, ...],
    moved: bool,
    part: str | None,
    dry_run: bool,
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
    from rt_framework.results import open_run
    from rt_framework.terminal.printing import line, stdout
    from rt_prove.judging import judged, show_calls
    from rt_prove.rehearsal import show_rehearsal
    from rt_prove.results import proof_of
    from rt_prove.settings import Learner
    from rt_prove.tables import show_proof

    learner = Learner.named(model, dtype)
    files = pairs(held_out, "--held-out")
    if len(files) < len(held_out):
        raise click.UsageError("--held-out: two sets have one name")
    generation = _generation(prompts, max_tokens)
    judging = _judging(host, run_dir, judge, generation, judge_dir, concurrency, budget_usd, elsewhere, moved)
    _claim(run_dir, files, judging)
    console = stdout()
    try:
        with open_run(run_dir, host) as run:
            plan, arms, tokens = _planned(host, run, learner, files, console, generation, **asked)
            conclude = partial(proof_of, run.identity, plan, arms, tokens)
        units = list(plan.units())
        if dry_run:
            show_rehearsal(plan, tokens, units, console)
        else:
            _do(plan, units, part, console)
        done = [(unit, measured) for unit in units if (measured := plan.found(unit)) is not None]
        is_whole = len(done) == len(units)
        if dry_run:
            if judging is not None:
                show_calls(host, judging, plan, conclude(done).best if is_whole else None, done, console)
            return 0
        if part is not None or not is_whole:
            console.print(f"{len(done)} of {len(units)} units are finished; the command without --unit collects them")
            return 0
        proof, errors = conclude(done), 0
        _write(run_dir, proof)  # before the judge, which may end early: what hours of training have shown is not lost
        if judging is not None:
            proof, errors = judged(host, judging, plan, proof, done, console)
            _write(run_dir, proof)
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished stays, and the same command goes on") from None
    show_proof(console, proof)
    console.print(line(f"wrote {_proof(run_dir)}; 'rt report {run_dir}' shows it"))
    return int(errors > 0)


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


def _generation(prompts: int | None, max_tokens: int | None) -> Generation | None:
    """Return what the trained models are to answer; ``None`` for nothing.

    Raises:
        click.UsageError: the options do not fit each other.
    """
    from rt_prove.settings import Generation

    if prompts is None:
        if max_tokens is not None:
            raise click.UsageError("--max-tokens can only be used with --generate")
        return None
    return Generation(prompts, 256 if max_tokens is None else max_tokens)


def _judging(
    host: Host,
    run_dir: Path,
    judge: str | None,
    generation: Generation | None,
    judge_dir: Path | None,
    concurrency: int,
    budget_usd: float | None,
    elsewhere: tuple[str, ...],
    moved: bool,
) -> Judging | None:
    """Return what the options ask of a judge; ``None`` if there is none.

    Raises:
        click.UsageError: the options do not fit each other.
        RtError: there is no such judge. This is found out before hours of training.
    """
    from rt_prove.judging import FOLDER, Judging
    from rt_prove.units import FOLDER as UNITS

    if judge is None:
        if (budget_usd, judge_dir, elsewhere, moved) != (None, None, (), False):
            raise click.UsageError("--budget-usd, --run-dir, --answers and --moved can only be used with --judge")
        return None
    if generation is None:
        raise click.UsageError("--judge compares answers: let the trained models answer with --generate N")
    limits = Limits(concurrency=concurrency, budget_usd=budget_usd)
    where = run_dir / UNITS / FOLDER if judge_dir is None else judge_dir
    return Judging.of(host, chosen("judge", judge), where, limits, elsewhere, moved)


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
    from rt_prove.settings import Training
    from rt_prove.tables import show_arms
    from rt_prove.training import count_tokens
    from rt_prove.units import Plan

    settings = Training(**training)
    if settings.batch_size % settings.accumulate:
        raise click.UsageError("--accumulate must divide --batch-size")
    grid, names, outcomes = _rates(rates), _names(arm_names), _outcomes(outcome_names, files)
    run.manifest  # noqa: B018 - a run that is not finished is refused
    arms = arms_of(run, host, names, samples, draw_seed)
    sets = held_out_sets(host, files, arms.made)
    tokens = {arm.name: count_tokens(learner, arm.pairs, settings) for arm in arms.made}
    decided = {"settings": settings, "arms": arms.made, "sets": sets, "outcomes": outcomes, "rates": grid}
    plan = Plan.of(host, run.path, learner, seeds=tuple(range(seeds)), generation=generation, **decided)
    show_arms(console, arms, tokens, sets, plan.prompts)
    _check_lost(tokens, settings.max_length)
    return plan, arms, tokens


def _outcomes(names: Sequence[str], files: Mapping[str, str]) -> tuple[Outcome, ...]:
    from rt_prove.contests import judged_name
    from rt_prove.outcomes import find_outcome

    outcomes = tuple(map(find_outcome, dict.fromkeys(names)))
    taken = {*(one.name for one in outcomes), *map(judged_name, files)}
    twice = next((name for name in files if name in taken), None)
    if twice is not None:
        raise click.UsageError(f"--held-out {twice}: an outcome has this name; give another one")
    return outcomes


def _check_lost(tokens: Mapping[str, Tokens], max_length: int) -> None:
    """Refuse samples whose prompts fill the longest sequence: a training on nothing has no loss."""
    lost = ", ".join(f"{count.lost} of {name}" for name, count in tokens.items() if count.lost)
    if lost:
        raise RtError(f"--max-length {max_length}: nothing is left of the responses of some samples: {lost}")


def _names(text: str) -> list[str]:
    from rt_prove.arms import ARMS

    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = next((name for name in names if name not in ARMS), None)
    if unknown is not None:
        raise click.UsageError(f"--arms: no arm is called '{unknown}'; there are {', '.join(ARMS)}")
    return [name for name in ARMS if name in names]


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(dict.fromkeys(float(rate) for rate in text.split(",")))
    except ValueError:
        raise click.UsageError(f"--lr {text}: expected numbers with commas between them") from None
    if not all(0 < rate < 1 for rate in rates):
        raise click.UsageError(f"--lr {text}: a learning rate lies between 0 and 1")
    return rates


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
