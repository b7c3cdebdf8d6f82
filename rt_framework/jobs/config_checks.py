"""Checks of a config for ``rt doctor``: its parts, what they need, its data. No question is sent, no model loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from rt_framework.config import Builder, read_config
from rt_framework.data import open_source
from rt_framework.errors import RtError
from rt_framework.jobs.data_checks import check_data
from rt_framework.jobs.part_checks import student_findings, teacher_findings
from rt_framework.model import Finding
from rt_framework.pipeline import check_parts, open_job, steps_of
from rt_framework.plugin import Host
from rt_framework.text import number_of

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
    yield from teacher_findings(job, config)
    yield from student_findings(job, config)
    yield _disk(Path.cwd())


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    told = f"{free / 2**30:.1f} GiB free in {folder}"
    if free >= _ROOM:
        return Finding("disk", told)
    return Finding("disk", f"{told}: a run may need more; put it elsewhere with --run-dir", sure=False)
