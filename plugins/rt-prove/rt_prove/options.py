"""The options of ``rt prove``, read and checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from rt_framework.cli.options import Host, Limits, chosen
from rt_prove.arms import ARMS
from rt_prove.contests import judged_name
from rt_prove.judging import FOLDER, Judging
from rt_prove.outcomes import Outcome, find_outcome
from rt_prove.settings import Generation
from rt_prove.units import FOLDER as UNITS


def generation_of(prompts: int | None, max_tokens: int | None) -> Generation | None:
    """Return what the trained models are to answer; ``None`` for nothing.

    Raises:
        click.UsageError: the options do not fit each other.
    """
    if prompts is None:
        if max_tokens is not None:
            raise click.UsageError("--max-tokens can only be used with --generate")
        return None
    return Generation(prompts, 256 if max_tokens is None else max_tokens)


def judging_of(
    host: Host,
    run_dir: Path,
    generation: Generation | None,
    *,
    judge: str | None,
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
    if judge is None:
        if (budget_usd, judge_dir, elsewhere, moved) != (None, None, (), False):
            raise click.UsageError("--budget-usd, --run-dir, --answers and --moved can only be used with --judge")
        return None
    if generation is None:
        raise click.UsageError("--judge compares answers: let the trained models answer with --generate N")
    limits = Limits(concurrency=concurrency, budget_usd=budget_usd)
    where = run_dir / UNITS / FOLDER if judge_dir is None else judge_dir
    return Judging.of(host, chosen("judge", judge), where, limits, elsewhere, moved)


def outcomes_of(names: Sequence[str], files: Mapping[str, str]) -> tuple[Outcome, ...]:
    """Return the outcomes of other packages that are measured too.

    Raises:
        click.UsageError: a held-out set has the name of an outcome.
        ConfigError: there is no such outcome.
    """
    outcomes = tuple(map(find_outcome, dict.fromkeys(names)))
    taken = {*(one.name for one in outcomes), *map(judged_name, files)}
    twice = next((name for name in files if name in taken), None)
    if twice is not None:
        raise click.UsageError(f"--held-out {twice}: an outcome has this name; give another one")
    return outcomes


def arm_names_of(text: str) -> list[str]:
    """Return the names of the arms, in the order of :data:`rt_prove.arms.ARMS`.

    Raises:
        click.UsageError: an arm is unknown.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = next((name for name in names if name not in ARMS), None)
    if unknown is not None:
        raise click.UsageError(f"--arms: no arm is called '{unknown}'; there are {', '.join(ARMS)}")
    return [name for name in ARMS if name in names]


def rates_of(text: str) -> tuple[float, ...]:
    """Return the learning rates, each once.

    Raises:
        click.UsageError: one is no number between 0 and 1.
    """
    try:
        rates = tuple(dict.fromkeys(float(rate) for rate in text.split(",")))
    except ValueError:
        raise click.UsageError(f"--lr {text}: expected numbers with commas between them") from None
    if not all(0 < rate < 1 for rate in rates):
        raise click.UsageError(f"--lr {text}: a learning rate lies between 0 and 1")
    return rates
