"""Display of the findings of ``rt doctor``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rt_framework.model import Finding
from rt_framework.terminal.printing import line, stdout, table


def watched(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings as they come; on a terminal a line that goes away tells the last one, and nothing in a pipe."""
    console = stdout()
    if not console.is_terminal:
        yield from findings
        return
    with console.status("looking") as status:
        for one in findings:
            status.update(line(f"looking; the last finding: {one.what}"))
            yield one


def show_findings(findings: Sequence[Finding]) -> None:
    """Print findings as a table, and below it how many of them are wrong or doubtful."""
    console = stdout()
    console.print(table("Checks", ("", "what", "finding"), [(one.mark, one.what, one.finding) for one in findings]))
    wrong, doubtful = sum(not one.good for one in findings), sum(one.mark == "CHECK" for one in findings)
    verdict = [f"{wrong} marked WRONG"] if wrong else ["nothing is wrong"]
    verdict += [f"{doubtful} marked CHECK"] if doubtful else []
    console.print(line(", ".join(verdict)))
