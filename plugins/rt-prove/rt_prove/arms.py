"""The arms of a proof: what the run kept, and its controls, each with the same number of samples.

Every draw is decided by a hash of seed and sample id. All arms take the samples with the smallest hashes of those that
they may take, so that they share as many samples as they can: what they share cannot make them differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from attrs import field, frozen

from rt_framework import Choice, Decision, Pair, Sample, Scored
from rt_framework.cli.options import Builder, Host
from rt_framework.errors import ConfigError, DataError
from rt_framework.kit.echo import echo_of
from rt_framework.kit.length_pool import LengthPool
from rt_framework.model import ORIGINAL, digest
from rt_framework.results import FinishedRun

ARMS: Mapping[str, str] = {
    "kept": "what the run kept",
    "all-rewrites": "the last rewrite of every sample, chosen or not",
    "random-version": "the samples that the run kept, in versions drawn at its rates",
    "original": "the samples that the run kept, not rewritten",
    "random": "samples of the input drawn at random, not rewritten",
    "length-matched": "other samples with responses as long as the kept ones, not rewritten",
    "echo-matched": "other samples that repeat their instructions as much as the kept ones, not rewritten",
}
"""What each arm holds."""
MADE = ("kept", "all-rewrites")
"""Arms that are compared with every other; the others are their controls."""


def compared(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return which arms are compared, each pair once: those of :data:`MADE` with every other, as arm and control."""
    pairs = [(arm, other) for arm in names if arm in MADE for other in names if other != arm]
    return [pair for pair in pairs if pair[::-1] not in pairs[: pairs.index(pair)]]


Member = tuple[str, str]
"""Id of a sample, and name of one of its versions."""


@frozen
class Arm:
    """One arm: the samples that a training gets."""

    name: str
    pairs: tuple[Pair, ...] = field(repr=False)
    """The samples, in the order of their draw."""
    rewritten: int
    """Number of those that are rewrites."""
    note: str = ""
    """What a reader has to know about how it was made."""

    @cached_property
    def content(self) -> str:
        """Hash of all samples in their order."""
        return digest([pair.hash for pair in self.pairs])


@frozen
class Arms:
    """The arms of a proof."""

    made: tuple[Arm, ...]
    left_out: Mapping[str, str]
    """Why an arm was not made, by name."""


@frozen
class _Line:
    """One sample without its texts, as far as the arms have to know it."""

    id: str
    is_kept: bool
    current: str
    """Name of the version that it ended with."""
    last: str | None
    """Name of its last rewrite."""
    drawn: str
    """Name of the version drawn at random; the original where none was drawn."""
    missed: int
    """Number of the run's choices that the drawn versions could not take part in."""
    values: Mapping[str, tuple[int, int]]
    """Length in characters, or echo in thousandths, of its original and of the version it ended with; by arm."""


def arms_of(run: FinishedRun, host: Host, names: Sequence[str], samples: int | None, seed: int) -> Arms:
    """Return the arms of a run that can be made.

    Args:
        run: the run.
        host: finds the selector of random versions.
        names: the arms, of :data:`ARMS`.
        samples: number of samples of each; the least that all can supply when left out.
        seed: seed of the draws.

    Raises:
        ConfigError: no arm can be made.
        DataError: the run is not finished, or its last run was a pilot.
    """
    if run.is_pilot:
        raise DataError(f"{run.path}: the last run was a pilot of some rows; 'rt run' goes on with all of them")
    lines = _lines(run, names, _Versions.of(run, host, seed) if "random-version" in names else None)
    # Not the hash by which selectors draw: else a run that kept a random subset had the same random arm.
    lines.sort(key=lambda line: digest(["proof", seed, line.id]))
    pools = {name: _pool(name, lines) for name in names}
    left_out = {name: why for name, why in ((name, _lacks(name, pools[name], samples)) for name in names) if why}
    sizes = [len(pools[name]) for name in names if name not in left_out]
    if not sizes:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ConfigError(f"{run.path}: no arm can be made: {reasons}")
    size = min(sizes) if samples is None else samples
    made: dict[str, Arm] = {}
    for name in names:
        if name in left_out:
            continue
        arm = _arm(run, name, pools[name], size, lines, seed)
        equal = next((other for other in made.values() if other.content == arm.content), None)
        if equal is None:
            made[name] = arm
        else:
            left_out[name] = f"it has the same samples as the arm '{equal.name}'"
    return Arms(tuple(made.values()), left_out)


def _lacks(name: str, pool: Sequence[Member], samples: int | None) -> str:
    """Return why an arm cannot be made; empty if it can."""
    if not pool:
        nothing = {"all-rewrites": "no sample has a rewrite", "random-version": "the run chose between no versions"}
        return nothing.get(name, "the run kept no sample")
    if samples is not None and len(pool) < samples:
        return f"it has {len(pool)} samples, fewer than --samples {samples}"
    return ""


# --- one reading of the run -------------------------------------------------------------------


def _lines(run: FinishedRun, names: Sequence[str], versions: _Versions | None) -> list[_Line]:
    """Return a line for each sample.

    Raises:
        DataError: a sample is not at its end.
    """
    lines = []
    traits = {name: trait for name, trait in _TRAITS.items() if name in names}
    for history in run:
        sample = history.sample
        if history.is_waiting:
            raise DataError(f"{run.path}: row {sample.row} is not at its end; 'rt run' resumes the run")
        drawn, missed = (ORIGINAL, 0) if versions is None or not history.is_kept else versions.draw(sample)
        rewrites = [version.name for version in sample.versions[1:]]
        ends = (sample.original.pair, sample.current.pair)
        values = {name: (trait(ends[0]), trait(ends[1])) for name, trait in traits.items()}
        last = rewrites[-1] if rewrites else None
        lines.append(_Line(sample.id, history.is_kept, sample.kept, last, drawn, missed, values))
    return lines


@frozen
class _Versions:
    """Random versions at the rates of a run, by the selector ``random-version``, choice after choice."""

    _choose: Callable[[Sequence[Scored]], Choice]

    @classmethod
    def of(cls, run: FinishedRun, host: Host, seed: int) -> _Versions:
        """Return the draw for a run."""
        selector = Builder(host)("selectors", "random-version", {"run": str(run.path), "seed": seed})
        return cls(selector.choose)

    def draw(self, sample: Sample) -> tuple[str, int]:
        """Return the name of the version drawn, and how many choices of the run were not open to it.

        The run asked for rewrites of the version that it had chosen before. Where another one was drawn there, a later
        choice has no rewrite of it, and the sample goes on with what it has.
        """
        name, missed = ORIGINAL, 0
        for decision in sample.decisions:
            if len(decision.candidates) == 1:  # a gate
                continue
            if decision.candidates[0] == name:
                name = self._choose(self._rows(sample, decision)).kept
            else:
                missed += 1
        return name, missed

    @staticmethod
    def _rows(sample: Sample, decision: Decision) -> list[Scored]:
        return [Scored(sample.id, sample.row, sample.version(name), {}) for name in decision.candidates]


def _thousandths(pair: Pair) -> int:
    share = echo_of(pair)
    return 0 if share is None else round(1000 * share)


_TRAITS: Mapping[str, Callable[[Pair], int]] = {
    "length-matched": lambda pair: len(pair.response),
    "echo-matched": _thousandths,
}
"""What matched samples have in common, as a whole number, by arm."""

# --- arms -------------------------------------------------------------------------------------


def _pool(name: str, lines: Iterable[_Line]) -> list[Member]:
    """Return what an arm may take, in the order of the draw; empty if it cannot be made."""
    kept = [line for line in lines if line.is_kept]
    if name == "kept":
        return [(line.id, line.current) for line in kept]
    if name == "original":
        return [(line.id, ORIGINAL) for line in kept]
    if name == "random-version":
        rewritten = any(line.last is not None for line in kept)
        return [(line.id, line.drawn) for line in kept] if rewritten else []
    if name == "all-rewrites":
        return [(line.id, line.last) for line in lines if line.last is not None]
    if name == "random":
        return [(line.id, ORIGINAL) for line in lines]
    return [(line.id, ORIGINAL) for line in kept]  # as many can be matched to them


def _arm(run: FinishedRun, name: str, pool: Sequence[Member], size: int, lines: Sequence[_Line], seed: int) -> Arm:
    note = ""
    members = list(pool[:size])
    if name in _TRAITS:
        places, scarce = _matched(name, lines, size, seed)
        members = [(lines[place].id, ORIGINAL) for place in sorted(places)]
        note = f"{scarce} of them are kept samples, because too few others are left" if scarce else ""
    elif name == "random-version":
        missed = sum(line.missed for line in [line for line in lines if line.is_kept][:size])
        note = f"{missed} choices had no rewrite of the version drawn" if missed else ""
    pairs = tuple(_pairs(run, members))
    return Arm(name, pairs, sum(version != ORIGINAL for _, version in members), note)


def _pairs(run: FinishedRun, members: Iterable[Member]) -> Iterator[Pair]:
    for sample_id, version in members:
        yield run.sample(sample_id).sample.version(version).pair


def _matched(name: str, lines: Sequence[_Line], size: int, seed: int) -> tuple[list[int], int]:
    """Return the positions of the originals nearest to the kept samples, and how many of them are kept ones.

    They come from the samples that were not kept while there are any, as for the selectors of the same names.
    """

    def luck(place: int) -> str:
        return digest(["proof", seed, lines[place].id])

    values = [line.values[name][0] for line in lines]
    kept = [place for place, line in enumerate(lines) if line.is_kept]
    outside = LengthPool((place for place, line in enumerate(lines) if not line.is_kept), values, luck)
    inside = LengthPool(kept, values, luck)
    taken, scarce = [], 0
    for place in kept[:size]:
        scarce += not outside
        taken.append((outside or inside).take(lines[place].values[name][1]))
    return taken, scarce
