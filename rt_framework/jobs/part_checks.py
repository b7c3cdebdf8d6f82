"""Checks of the teachers and the student of a config for ``rt doctor``. No question is sent, no model loaded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from rt_framework.config import MAIN, MAIN_TEACHER, Config
from rt_framework.errors import RtError, StudentError, TeacherError
from rt_framework.jobs.fits import fit, frame_of, rows_fit, window_fits
from rt_framework.model import Finding
from rt_framework.pipeline import Opened, teachers_of
from rt_framework.protocols import CheckedPart, Teacher
from rt_framework.scoring import ScoringRules
from rt_framework.teacher import is_priced, price_of, rendered

_ENCODED = 32
"""Rows that are put before the student's tokenizer."""


def teacher_findings(job: Opened, config: Config) -> Iterator[Finding]:
    """Yield what each teacher says of itself, and whether its budget has room for a call."""
    try:
        teachers = teachers_of(job.make, job.teachers, job.students)
    except (RtError, StudentError) as error:
        yield Finding("teachers", str(error), good=False)
        return
    joint = config.share_of(config.limits.budget_usd)
    for name, teacher in teachers.items():
        called = name or MAIN_TEACHER
        try:
            yield from _looked(called, teacher)
        except (RtError, TeacherError, StudentError) as error:
            yield Finding(called, str(error), good=False)
        own = job.teachers[name].budget_usd
        budgets = {"limits.budget_usd": joint, f"teachers.{name}.budget_usd" if name else "teacher.budget_usd": own}
        for setting, dollars in budgets.items():
            if dollars is not None:
                yield _budget(job, name, teacher, setting, dollars)


def _budget(job: Opened, name: str, teacher: Teacher, setting: str, dollars: float) -> Finding:
    """Return whether a budget has room for the cheapest question about the first row."""
    what = f"{name or MAIN_TEACHER}: budget"
    if not is_priced(teacher):
        told = "there is a budget, and the price of this teacher is not known: give input_price and output_price"
        return Finding(what, f"{told}, or leave {setting} out", good=False)
    try:
        pairs = [record.pair for _, record in islice(job.source, 1)]
        asks = [asking for step in job.steps for asking in step.asks if asking.teacher == name]
        requests = [
            rendered(asking.question, pair, 0, teacher.structured, asking.draw)
            for pair in pairs
            for asking in asks
            if asking.about(pair)
        ]
    except Exception:  # a run fails this sample and goes on
        requests = []
    price = min(filter(None, (price_of(teacher, request) for request in requests)), default=0) / 1e9
    told = f"one call can cost ${price:.4f} at most"
    if price > dollars:
        way_out = f"give a larger {setting}, or the reflection a smaller max_tokens"
        return Finding(what, f"{told}, more than {setting} of ${dollars:g}: {way_out}", good=False)
    return Finding(what, f"{told}, {setting} is ${dollars:g}")


def student_findings(job: Opened, config: Config) -> Iterator[Finding]:
    """Yield whether the student is there, and how the first rows stand before its tokenizer."""
    spec = job.students.get(MAIN)
    if spec is None:
        return
    try:
        student: Any = job.make.spec("students", spec)
        yield Finding("student", f"{spec}, {str(student.fingerprint)[:40]}…")
        yield from _looked("student", student)
        yield from window_fits(student, ScoringRules.of(config.scoring).max_tokens)
        frame = frame_of(job.make, config.scoring)
        yield rows_fit([fit(student, frame, record.pair) for _, record in islice(job.source, _ENCODED)])
    except (RtError, StudentError) as error:
        yield Finding("student", str(error), good=False)


def _looked(called: str, part: object) -> Iterator[Finding]:
    """Yield what a part says of itself."""
    for found in part.look() if isinstance(part, CheckedPart) else ():
        yield Finding(f"{called}: {found.what}", found.finding, found.good, found.sure)
