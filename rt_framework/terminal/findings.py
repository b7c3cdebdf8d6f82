"""Display of the findings of ``rt doctor``."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.model import Finding
from rt_framework.terminal.printing import line, stdout, table


def show_findings(findings: Sequence[Finding]) -> None:
    """Print findings as a table, and below it how many of them are wrong or doubtful."""
    console = stdout()
    console.print(table("Checks", ("", "what", "finding"), [(one.mark, one.what, one.finding) for one in findings]))
    wrong, doubtful = sum(not one.good for one in findings), sum(one.mark == "CHECK" for one in findings)
    verdict = [f"{wrong} marked WRONG"] if wrong else ["nothing is wrong"]
    verdict += [f"{doubtful} marked CHECK"] if doubtful else []
    console.print(line(", ".join(verdict)))
