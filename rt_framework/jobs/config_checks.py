"""Checks of a config for ``rt doctor``: its parts, what they need, its data. No question is sent, no model loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rt_framework.config import MAIN, MAIN_TEACHER, Builder, Config, read_config
from rt_framework.data import Source, open_source
from rt_framework.errors import RtError, StudentError, TeacherError
from rt_framework.jobs.data_checks import check_data
from rt_framework.jobs.fits import fit, frame_of, rows_fit
from rt_framework.model import Finding
from rt_framework.pipeline import Opened, check_parts, open_job, steps_of, teachers_of
from rt_framework.plugin import Host
from rt_framework.protocols import CheckedPart
from rt_framework.teacher import is_priced
from rt_framework.text import number_of

_ENCODED = 32
"""Rows that are put before the student's tokenizer."""

_ROOM = 2 * 2**30
"""Bytes of free disk below which a run may not find room for its ledger and its results."""


def check_config(host: Host, path: Path) -> Iterator[Finding]:
    """Check that a config can be read, and that nothing is missing that a run would need."""
    try:
        config = read_config(path)
        make = Builder(host)
        steps = steps_of(make, config.pipeline.specs)
        check_parts(make, steps, config)
        yield Finding(str(path), number_of(len(steps), "stage"))
        source = yield from check_data(open_source(host, config.data, config.limits.samples))
        if source is None:  # what the parts need is looked at with rows before them
            return
        job = open_job(host, config, source=source)
    except RtError as error:
        yield Finding(str(path), str(error), good=False)
        return
    yield from _of_teachers(job, config)
    yield from _of_student(job, config, source)
    yield _of_disk(Path.cwd())


def _of_teachers(job: Opened, config: Config) -> Iterator[Finding]:
    try:
        teachers = teachers_of(job.make, job.teachers, job.students)
    except (RtError, StudentError) as error:
        yield Finding("teachers", str(error), good=False)
        return
    for name, teacher in teachers.items():
        called = name or MAIN_TEACHER
        yield from _looked(called, teacher)
        limited = config.limits.budget_usd is not None or job.teachers[name].budget_usd is not None
        if limited and not is_priced(teacher):
            yield Finding(
                f"{called}: budget", "there is a budget, and the price of this teacher is not known", good=False
            )


def _looked(called: str, part: object) -> Iterator[Finding]:
    """Yield what a part says of itself."""
    if not isinstance(part, CheckedPart):
        return
    try:
        for found in part.look():
            yield Finding(f"{called}: {found.what}", found.finding, found.good, found.sure)
    except (RtError, TeacherError, StudentError) as error:
        yield Finding(called, str(error), good=False)


def _of_student(job: Opened, config: Config, source: Source) -> Iterator[Finding]:
    """Yield whether the student is there, and how the first rows stand before its tokenizer."""
    spec = job.students.get(MAIN)
    if spec is None:
        return
    try:
        student: Any = job.make.spec("students", spec)
        yield Finding("student", f"{spec}, {str(student.fingerprint)[:40]}…")
        yield from _looked("student", student)
        frame = frame_of(job.make, config.scoring)
        yield rows_fit([fit(student, frame, record.pair) for _, record in islice(source, _ENCODED)])
    except (RtError, StudentError) as error:
        yield Finding("student", str(error), good=False)


def _of_disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding("disk", f"{free / 2**30:.1f} GiB free in {folder}", sure=free >= _ROOM)
