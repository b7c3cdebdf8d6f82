"""Two selectors: one between the versions of a sample, one between the samples of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rt_framework import Choice, Scored, Verdict, hookimpl
from rt_framework.hookspecs import Register


@frozen
class MarginSettings:
    """Options of ``clearly-higher``."""

    metric: str
    """The metric whose values are compared."""
    margin: float = 0.05
    """Least amount by which a rewrite must be higher."""


@frozen
class ClearlyHigher:
    """Takes the best rewrite only if it beats the current version by a margin."""

    settings: MarginSettings

    @property
    def needs(self) -> Sequence[str]:
        """The metric of the settings."""
        return (self.settings.metric,)

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """The current version comes first; it stays unless a rewrite with a valid score beats it by the margin."""
        held, *rewrites = candidates
        metric, margin, before = self.settings.metric, self.settings.margin, self._value(held)
        found = [(value, row) for row in rewrites if (value := self._value(row)) is not None]
        best, winner = max(found, key=lambda item: item[0], default=(0.0, held))
        if winner is held or (before is not None and best <= before + margin):
            return Choice(held.version.name, f"no rewrite is {margin:g} higher in {metric}")
        against = "no valid score" if before is None else f"{before:.3f}"
        return Choice(winner.version.name, f"{metric} {best:.3f} against {against}")

    def _value(self, row: Scored) -> float | None:
        score = row.scores[self.settings.metric]
        return score.value if score.eligible else None


@frozen
class ShortestSettings:
    """Options of ``shortest``."""

    count: int
    """Number of samples to keep."""


@frozen
class Shortest:
    """Keeps the samples with the shortest responses."""

    settings: ShortestSettings

    @property
    def needs(self) -> Sequence[str]:
        """No metric, because texts are enough."""
        return ()

    def select(self, rows: Sequence[Scored]) -> Sequence[Verdict]:
        """Return one verdict for each row, in the order given; of equal lengths the earlier row is kept."""
        order = sorted(range(len(rows)), key=lambda at: (len(rows[at].version.pair.response), at))
        rank = {at: place for place, at in enumerate(order, 1)}
        count = self.settings.count
        return [Verdict(rank[at] <= count, f"rank {rank[at]} by length of {len(rows)}") for at in range(len(rows))]


@hookimpl
def rt_register_selectors(register: Register) -> None:
    """Offer both."""
    register("clearly-higher", "selector:ClearlyHigher", help="higher by a margin", settings=MarginSettings)
    register("shortest", "selector:Shortest", help="the shortest responses", settings=ShortestSettings)
