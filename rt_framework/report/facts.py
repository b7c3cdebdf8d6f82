"""Words and tables of the page, computed from the survey: nothing here knows of HTML."""

from __future__ import annotations

from collections import Counter

from attrs import frozen

from rt_framework.report import ran, tables, teacher
from rt_framework.report.evidence import evidence_of
from rt_framework.report.first_screen import FirstScreen, first_screen
from rt_framework.report.proved import Proved, proved
from rt_framework.report.survey import Survey
from rt_framework.report.tables import Rows
from rt_framework.report.texts import fit
from rt_framework.results import FinishedRun
from rt_framework.terminal.printing import money


@frozen
class Facts:
    """Content of the page without its samples."""

    first: FirstScreen
    ran: Rows
    pipeline: str
    outcomes: Rows
    reasons: Rows
    shifts: Rows
    explained: Rows
    controls: Rows
    controls_note: str
    bill_heads: tuple[str, ...]
    bills: Rows
    failures: Rows
    handovers: Rows
    money: str
    close: Rows
    noise: float
    proved: Proved


def facts_of(run: FinishedRun, survey: Survey) -> Facts:
    """Return everything that the page says about a run, except its samples."""
    cost, manifest, about = run.cost, run.manifest, proved(run)
    evidence = evidence_of(run, survey, about.proof)
    reasons = Counter(f"{line.outcome}: {line.why}" for line in survey.lines if line.why)
    return Facts(
        first=first_screen(run, evidence),
        ran=tuple(ran.fully(manifest)),
        pipeline=ran.as_yaml(manifest["config"].get("pipeline", {})),
        outcomes=tuple(tables.outcomes(survey)),
        reasons=tables.shares(reasons, survey.total),
        shifts=tuple(tables.shifts(survey)),
        explained=tuple(map(tables.cells, evidence.explained)),
        controls=tuple(tables.controls(survey)),
        controls_note=tables.controls_note(survey),
        bill_heads=teacher.bill_heads(cost),
        bills=teacher.bill_rows(cost),
        failures=teacher.failure_rows(survey.failures),
        handovers=teacher.handover_rows(manifest["summary"]),
        money=teacher.money_in_words(manifest, money(cost.nano_dollars, cost.priced), run.efforts),
        close=tuple((fit(stage), f"{count:,}") for stage, count in survey.doubts.items()),
        noise=survey.noise,
        proved=about,
    )
