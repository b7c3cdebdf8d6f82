"""Findings of a look at something before it is used."""

from __future__ import annotations

from attrs import frozen


@frozen
class Finding:
    """Result of one check of ``rt doctor``."""

    what: str
    """The thing that was looked at, in a word or two."""
    finding: str
    """What was found, and the way out where it is wrong."""
    good: bool = True
    """False if a run would not work so."""
    sure: bool = True
    """False if the finding is only a hint that somebody should look into."""

    @property
    def mark(self) -> str:
        """Word that marks the finding in the printed table."""
        return "WRONG" if not self.good else "ok" if self.sure else "CHECK"
