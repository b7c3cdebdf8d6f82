"""Selectors between the versions of one sample.

All follow one rule: the current version is replaced only by a version that is strictly better. Of several better
versions the best wins, and of equal ones the first. A version without a valid score, or outside a gate, cannot win;
when no version can win, the current one stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from attrs import frozen

from rt_framework.builtin.selectors.scores import lacking, shown, shown_apart, valid
from rt_framework.builtin.selectors.settings import BestSettings, NotHigherSettings
from rt_framework.model import Choice, Scored


@frozen
class _Best:
    """The rule of this module; a subclass states which direction is better."""

    settings: BestSettings
    sign: ClassVar[int]
    """1 when higher values are better, else -1."""
    words: ClassVar[tuple[str, str]]
    """Comparison sign and the word for *better* in reasons."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The deciding metric and those of the gates."""
        return tuple(dict.fromkeys((self.settings.metric, *self.settings.gates)))

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Keep the best version that can win; on a tie the current version, which is the first candidate."""
        judged = {row.version.name: self._judge(row) for row in candidates}
        able = {name: value for name, value in judged.items() if not isinstance(value, str)}
        current = candidates[0].version.name
        if not able:
            return Choice(current, f"no version can win: {_listed(judged)}")
        # max() returns the first of equal values.
        best = max(able, key=lambda name: self.sign * able[name])
        return Choice(best, self._reason(best, current, judged, able))

    def _judge(self, row: Scored) -> float | str:
        """Return the value that decides, or why the version cannot win."""
        values: dict[str, float] = {}
        for metric in self.needs:
            value, gate = valid(row, metric), self.settings.gates.get(metric)
            if value is None:
                return lacking(metric, row.scores[metric])
            if gate is not None and value not in gate:
                return f"{metric} {shown(value)} is not {gate}"
            values[metric] = value
        return values[self.settings.metric]

    def _reason(self, best: str, current: str, judged: Mapping[str, float | str], able: Mapping[str, float]) -> str:
        metric = self.settings.metric
        sign, word = self.words
        if best == current:
            others = {name: value for name, value in judged.items() if name != current}
            return f"{metric} {shown(able[current])} of {current}, none {word}: {_listed(others)}"
        if current not in able:
            return f"{metric} {shown(able[best])}; {current} cannot win: {judged[current]}"
        won, lost = shown_apart(able[best], able[current])
        return f"{metric} {won} {sign} {lost} of {current}"


def _listed(judged: Mapping[str, float | str]) -> str:
    return "; ".join(f"{name}: {v if isinstance(v, str) else shown(v)}" for name, v in judged.items())


@frozen
class Highest(_Best):
    """Selector of the version with the highest value of a metric (step 2 of arXiv 2402.10110, with ``ifd``)."""

    sign = 1
    words = (">", "higher")


@frozen
class Lowest(_Best):
    """Selector of the version with the lowest value of a metric (step 4 of arXiv 2402.10110, with ``r-ifd``)."""

    sign = -1
    words = ("<", "lower")


@frozen
class NotHigher:
    """Selector of the newest version, unless its value of a metric is higher than that of the current version.

    A version without a valid value never wins, and neither does a rewrite of a version without one.
    """

    settings: NotHigherSettings

    @property
    def needs(self) -> tuple[str, ...]:
        """The metric that is compared."""
        return (self.settings.metric,)

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Keep the last candidate if its value is not higher than that of the first, which is the current version."""
        metric = self.settings.metric
        current, newest = candidates[0], candidates[-1]
        values = valid(current, metric), valid(newest, metric)
        for row, value in zip((newest, current), reversed(values), strict=True):
            if value is None:
                reason = f"{row.version.name} cannot be compared: {lacking(metric, row.scores[metric])}"
                return Choice(current.version.name, reason)
        before, after = (float(value or 0.0) for value in values)
        texts = shown_apart(after, before)
        if after > before:
            return Choice(current.version.name, f"{metric} {texts[0]} > {texts[1]} of {current.version.name}")
        return Choice(newest.version.name, f"{metric} {texts[0]} ≤ {texts[1]} of {current.version.name}")


class Newest:
    """Selector of the newest version, whatever it scores: reflection without selection (arXiv 2310.11716)."""

    needs: Sequence[str] = ()
    """Empty, since no metric is read."""

    def choose(self, candidates: Sequence[Scored]) -> Choice:
        """Keep the last candidate."""
        return Choice(candidates[-1].version.name, "the newest version is kept without comparison")
