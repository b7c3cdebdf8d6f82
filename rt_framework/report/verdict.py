"""The answer of the page's first screen to the question whether to train on the result."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from rt_framework.report.evidence import Evidence, Reason, Side
from rt_framework.report.rules import RULES
from rt_framework.report.texts import fit

LEVELS: Mapping[str, str] = {
    "unfinished": "Not yet: there is more to run.",
    "unfit": "Not as it is.",
    "worse": "No: a model trained on it was worse than one trained on a control.",
    "unchanged": "There is no reason to: nothing was gained.",
    "compare": "Only beside its controls.",
    "unseen": "It makes no difference that a trial training could see.",
    "proved": "Yes: a model trained on it was better than one trained on a control.",
    "trial": "It is worth a trial.",
}
"""The answers by level, the gravest first."""

TONES: Mapping[str, str] = {"proved": "good", "trial": "good", "unfit": "bad", "worse": "bad", "compare": "careful"}
"""Colours of the answers that have one; the words say the same."""


@frozen
class Verdict:
    """The answer to "shall I train on this?", with its reasons."""

    level: str
    reasons: tuple[Reason, ...]

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        clean = self.level == "trial" and not self.lines("against")
        return "It is worth a trial: nothing found here speaks against it." if clean else LEVELS[self.level]

    @property
    def tone(self) -> str:
        """The name of the answer's colour."""
        return TONES.get(self.level, "plain")

    def lines(self, side: Side) -> tuple[str, ...]:
        """Return the reasons of one side."""
        return tuple(reason.text for reason in self.reasons if reason.side == side)


def verdict_of(evidence: Evidence) -> Verdict:
    """Return the verdict on a run: every reason that a rule gives, the deciding ones first, and the gravest level."""
    # Names and passages come from anywhere, so every line is made fit for the page here, whatever a rule puts into it.
    reasons = tuple(evolve(reason, text=fit(reason.text)) for rule in RULES for reason in rule(evidence))
    levels = {reason.level for reason in reasons}
    # A proof has compared with the controls, so the advice to compare says nothing more.
    answered = {"compare"} if levels & {"proved", "unseen"} else set()
    level = next((level for level in LEVELS if level in levels - answered), "trial")
    return Verdict(level, tuple(sorted(reasons, key=lambda reason: reason.level != level)))
