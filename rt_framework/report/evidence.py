"""Evidence that the rules of the verdict read, and the reasons that they give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

from rt_framework.events import ReviewCounts
from rt_framework.kit.proofs import Proof
from rt_framework.ledger import KEPT
from rt_framework.report.explained import Explained, explained
from rt_framework.report.lines import SampleLine
from rt_framework.report.survey import Survey
from rt_framework.results import FinishedRun

CANNED = 0.1
"""Share of the kept responses from which a passage that stands in them makes a run unfit."""

REPEATED = 0.01
"""Share of the kept responses from which a passage that stands in them speaks against a run: in fewer it is chance."""

UNSCORED = 0.05
"""Share of the samples that lack a score from which a run is unfit."""

DIRECTIONS: Mapping[str, int] = {"ifd": 1, "r-ifd": -1}
"""Direction in which a score is better, where the papers say so: 1 upwards, -1 downwards."""

Side = Literal["for", "against", "unknown"]


@frozen
class Reason:
    """A line of the verdict."""

    side: Side
    text: str
    level: str | None = None
    """The answer that this reason asks for, a key of :data:`rt_framework.report.verdict.LEVELS`."""


@frozen
class Evidence:
    """Facts that the rules read."""

    survey: Survey
    explained: Sequence[Explained]
    proof: Proof | None
    is_pilot: bool
    reviews: ReviewCounts = ReviewCounts()
    """Rewrites that people have read and judged."""

    @property
    def total(self) -> int:
        """Number of samples."""
        return self.survey.total

    @property
    def kept(self) -> Sequence[SampleLine]:
        """The samples that are in the result."""
        return self.survey.where(lambda line: line.outcome in KEPT)

    @property
    def rewritten(self) -> Sequence[SampleLine]:
        """The samples that are in the result in the words of a teacher."""
        return self.survey.where(lambda line: line.outcome == "rewritten")

    def count(self, outcome: str) -> int:
        """Return the number of samples with an outcome."""
        return sum(line.outcome == outcome for line in self.survey.lines)

    def reason_of(self, outcome: str) -> str:
        """Return the most common reason of an outcome with its number, in brackets; empty if none is given."""
        reasons = Counter(line.why for line in self.survey.lines if line.outcome == outcome and line.why)
        return "".join(f" ({count:,}: {why})" for why, count in reasons.most_common(1))


def evidence_of(run: FinishedRun, survey: Survey, proof: Proof | None) -> Evidence:
    """Return the evidence on a run."""
    return Evidence(survey, tuple(explained(survey)), proof, run.is_pilot, run.review_counts)
