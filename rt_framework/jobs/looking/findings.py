"""The findings of ``rt doctor``."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from rt_framework.model import Finding


@frozen
class ToldFinding:
    """A finding."""

    what: str
    """The thing that was looked at."""
    finding: str
    """What was found, for people, and the way out where it is wrong."""
    good: bool
    """False if a run would not work so."""
    sure: bool
    """False if it is only a hint that somebody should look into."""
    mark: str
    """``WRONG``, ``CHECK`` for a hint, or ``ok``."""


@frozen
class ToldFindings:
    """All findings."""

    findings: tuple[ToldFinding, ...]
    """The findings, in the order of the checks."""


def told_findings(found: Iterable[Finding]) -> ToldFindings:
    """Return findings as programs get them."""
    return ToldFindings(tuple(ToldFinding(one.what, one.finding, one.good, one.sure, one.mark) for one in found))
