"""Measures of how far the length of a response, or its echo, explains what the student's scores decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from rt_framework.kit.spread import auc
from rt_framework.ledger import KEPT
from rt_framework.report.survey import Survey
from rt_framework.report.texts import fit

KEPT_OR_NOT = "kept or not"
"""Name of the decision about all samples together."""


@frozen
class Explained:
    """Measures of how far length alone, or echo alone, explains a decision."""

    decision: str
    count: int
    won: int
    """Number of choices that the rewrite won; in the line about all samples, the number of those kept."""
    longer: float | None
    """Share of the rewrites that are longer than what they compete with; ``None`` for the line about all samples."""
    auc: float | None
    """AUC of a rewrite's extra length as a predictor of its winning, or of a response's length of its being kept."""
    echo: float | None
    """The same AUC of echo, over the decisions of which the echo is known."""

    @property
    def fewer(self) -> int:
        """The smaller of the numbers of decisions for and against: an AUC of a few of them says little."""
        return min(self.won, self.count - self.won)


def explained(survey: Survey) -> Iterator[Explained]:
    """Yield the measures of each stage that chose between versions, and of the selection if samples were left out."""
    for stage in dict.fromkeys(choice.stage for choice in survey.choices):
        longer: tuple[list[int], list[int]] = ([], [])
        echo: tuple[list[float | None], list[float | None]] = ([], [])
        for choice in survey.choices:
            if choice.stage == stage:
                longer[choice.rewrite].append(choice.longer)
                echo[choice.rewrite].append(choice.echoes)
        lost, won = longer
        count = len(lost) + len(won)
        share = sum(one > 0 for side in longer for one in side) / count
        yield Explained(fit(stage), count, len(won), share, auc(lost, won), _auc(*echo))
    kept = survey.where(lambda line: line.outcome in KEPT)
    others = survey.where(lambda line: line.outcome not in KEPT)
    if kept and others:
        lengths = auc([line.length_after for line in others], [line.length_after for line in kept])
        echoes = _auc((line.echo_after for line in others), (line.echo_after for line in kept))
        yield Explained(KEPT_OR_NOT, survey.total, len(kept), None, lengths, echoes)


def _auc(smaller: Iterable[float | None], larger: Iterable[float | None]) -> float | None:
    """Return the AUC of the numbers that are known."""
    known = ([number for number in numbers if number is not None] for numbers in (smaller, larger))
    return auc(*known)
