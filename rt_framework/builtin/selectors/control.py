"""A control for choices between versions: they are drawn at random, at a given rate or at that of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

from rt_framework.builtin.selectors.settings import RandomVersionSettings
from rt_framework.errors import ConfigError
from rt_framework.model import Choice, Scored, digest
from rt_framework.results import open_run

_DIGITS = 13
"""Hexadecimal digits of a hash that become a number from 0 to 1: 52 bits, as many as a float holds."""

_CURRENT = ""
"""Stands for the current version among the outcomes of a choice; a rewrite is called by its reflection."""


class RandomVersion:
    """Selector of a random version, so that choosing can be told apart from rewriting.

    With ``rate`` a rewrite is taken with this probability, each of several with the same. With ``run`` the outcome of a
    choice has the frequency that it has among the run's choices between rewrites by the same reflections.

    Raises:
        ConfigError: not exactly one of rate and run, or the run has made no choice.
    """

    needs: Sequence[str] = ()
    """Empty, since no metric is read."""

    def __init__(self, settings: RandomVersionSettings) -> None:
        if (settings.rate is None) == (settings.run is None):
            raise ConfigError("give either rate or run, and not both")
        self._settings = settings

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Draw one of the candidates by a hash of the seed, the sample's id and the names of the candidates."""
        names = [row.version.name for row in candidates]
        drawn = digest([self._settings.seed, candidates[0].sample_id, *names])
        luck = int(drawn[:_DIGITS], 16) / 16**_DIGITS
        shares = self._shares([_reflection(name) for name in names[1:]])
        for name, share in zip(names[1:], shares, strict=True):
            if luck < share:
                return Choice(name, f"drawn with seed {self._settings.seed}, at a rate of {share:.3g}")
            luck -= share
        return Choice(names[0], f"no rewrite drawn with seed {self._settings.seed}, at a rate of {sum(shares):.3g}")

    def _shares(self, rewrites: Sequence[str]) -> Sequence[float]:
        """Return the probability of each rewrite."""
        if self._settings.rate is not None:
            return [self._settings.rate / len(rewrites)] * len(rewrites)
        outcomes = self._outcomes.get(tuple(rewrites))
        if outcomes is None:
            known = "; ".join(", ".join(names) for names in self._outcomes)
            raise ConfigError(
                f"random-version: {self._settings.run} has no choice between rewrites called {', '.join(rewrites)}, "
                f"only between {known}: give the stages the same names, or a rate"
            )
        return [outcomes[rewrite] / outcomes.total() for rewrite in rewrites]

    @cached_property
    def _outcomes(self) -> Mapping[tuple[str, ...], Counter[str]]:
        """Number of the run's choices by outcome, for each tuple of rewrites that were chosen between."""
        assert self._settings.run is not None
        outcomes: dict[tuple[str, ...], Counter[str]] = {}
        with open_run(self._settings.run) as run:
            for history in run:
                for decision in history.sample.decisions:
                    current, *rewrites = decision.candidates
                    if rewrites:
                        kept = _CURRENT if decision.kept == current else _reflection(decision.kept)
                        outcomes.setdefault(tuple(map(_reflection, rewrites)), Counter())[kept] += 1
        if not outcomes:
            raise ConfigError(f"random-version: {self._settings.run} has made no choice between versions")
        return MappingProxyType(outcomes)


def _reflection(version: str) -> str:
    """Return the name that a stage has given a rewrite: the last part of its name, with the number of the draw."""
    parts = version.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() and len(parts) > 1 else parts[-1]
