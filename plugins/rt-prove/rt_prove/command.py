"""The command ``rt prove``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from rt_framework import RtError
from rt_framework.cli.options import Destination, Host, Whole, claim, pairs, whole

if TYPE_CHECKING:
    from rich.console import Console

    from rt_framework.results import FinishedRun
    from rt_prove.arms import Arms
    from rt_prove.outcomes import Outcome
    from rt_prove.settings import Learner
    from rt_prove.training import Tokens
    from rt_prove.units import Measured, Plan, Unit

ALL_ARMS = "kept,original,all-rewrites,random-version,random,length-matched"


@click.command()
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
@click.option("--unit", "part", metavar="I/N", help="Do only every N-th training, from the I-th on.")
@click.option("--dry-run", is_flag=True, help="Show arms and sizes, and measure how long it takes; keep nothing.")
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
    **asked: Any,
) -> int:
    """Train small on what a run kept and on its controls, and compare the trained models on held-out data.

    RUN_DIR is a finished run. Each training is a unit of work that is stored in RUN_DIR/proof when it is done: the same
    command goes on after a stop. The result is RUN_DIR/proof.json, which 'rt report' and the data card show too.
    """
    from rt_framework.errors import Interrupted
    from rt_framework.results import open_run
    from rt_framework.terminal.printing import stdout
    from rt_prove.settings import Learner

    learner = Learner.named(model, dtype)
    files = pairs(held_out, "--held-out")
    if len(files) < len(held_out):
        raise click.UsageError("--held-out: two sets have one name")
    claim([_proof(run_dir)], [Path(file) for file in files.values()])
    console = stdout()
    try:
        with open_run(run_dir, host) as run:
            plan, arms, tokens = _planned(host, run, learner, files, console, **asked)
            identity = run.identity
        units = list(plan.units())
        if dry_run:
            _rehearsed(plan, tokens, units, console)
            return 0
        _do(plan, units, part, console)
        done = [(unit, measured) for unit in units if (measured := plan.found(unit)) is not None]
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished stays, and the same command goes on") from None
    if part is not None or len(done) < len(units):
        console.print(f"{len(done)} of {len(units)} units are finished; the command without --unit collects them")
        return 0
    return _concluded(run_dir, identity, plan, arms, tokens, done, console)


def _proof(run_dir: Path) -> Destination:
    from rt_framework.kit.proofs import PROOF

    return Destination(run_dir / PROOF, record=run_dir)


def _planned(
    host: Host,
    run: FinishedRun,
    learner: Learner,
    files: Mapping[str, str],
    console: Console,
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
    show_arms(console, arms, tokens, sets)
    _check_lost(tokens, settings.max_length)
    decided = {"settings": settings, "arms": arms.made, "sets": sets, "outcomes": outcomes, "rates": grid}
    return Plan.of(host, run.path, learner, seeds=tuple(range(seeds)), **decided), arms, tokens


def _outcomes(names: Sequence[str], files: Mapping[str, str]) -> tuple[Outcome, ...]:
    from rt_prove.outcomes import find_outcome

    outcomes = tuple(map(find_outcome, dict.fromkeys(names)))
    twice = next((one.name for one in outcomes if one.name in files), None)
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


def _rehearsed(plan: Plan, tokens: Mapping[str, Tokens], units: Sequence[Unit], console: Console) -> None:
    from rt_prove.rehearsal import rehearse
    from rt_prove.tables import duration

    left = [unit for unit in units if plan.found(unit) is None]
    pace = rehearse(plan, tokens)
    console.print(
        f"{len(units)} units, of which {len(units) - len(left)} are finished: the model without training, and arms × "
        f"seeds × learning rates: {len(plan.arms)} × {len(plan.seeds)} × {len(plan.rates)}\n"
        f"measured here: {pace.start:.1f} s until a training begins, {1000 * pace.token:.2f} ms a token of training, "
        f"{pace.prompt:.2f} s a held-out prompt\n"
        f"about {duration(pace.seconds(plan, tokens, left))} for the others, one after the other"
    )


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


def _concluded(
    run_dir: Path,
    identity: str,
    plan: Plan,
    arms: Arms,
    tokens: Mapping[str, Tokens],
    done: Sequence[tuple[Unit, Measured]],
    console: Console,
) -> int:
    """Write the proof and print it."""
    from rt_framework.terminal.printing import line
    from rt_prove.results import proof_of
    from rt_prove.tables import show_proof

    proof = proof_of(identity, plan, arms, tokens, done)
    with whole(_proof(run_dir)) as written:
        written.write_text(proof.text(), "utf-8")
    show_proof(console, proof)
    console.print(line(f"wrote {_proof(run_dir)}; 'rt report {run_dir}' shows it"))
    return 0
