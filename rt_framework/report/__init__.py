"""``rt report``: one page that shows a run to the person who decides whether to train on its data.

The run is read twice, one sample at a time: the first reading (:mod:`survey`) counts and measures, the second
(:mod:`samples`) packs the texts. :mod:`page` puts both, with styles and scripts, into one file. :mod:`beside` puts the
first screens of several runs on one page.
"""

from __future__ import annotations

from pathlib import Path

from rt_framework.data import Destination, claim, paths_in, whole
from rt_framework.errors import DataError
from rt_framework.report.beside import write_beside
from rt_framework.report.facts import facts_of
from rt_framework.report.page import Page, columns
from rt_framework.report.samples import compress_texts, compressed_object
from rt_framework.report.survey import survey_of
from rt_framework.results import open_run

__all__ = ["REPORT", "write_beside", "write_report"]

REPORT = "report.html"


def write_report(run_dir: Path, out: Path | None = None, megabytes: float = 24.0, overwrite: bool = False) -> Path:
    """Write the report of a finished run as one HTML file that needs nothing else.

    Args:
        run_dir: the run.
        out: path of the page; ``report.html`` in *run_dir* when left out.
        megabytes: approximate limit of the file's size; if the texts take more, long ones are cut, and marked.
        overwrite: whether a file that is at *out* may be replaced.

    Returns:
        the path of the page.

    Raises:
        DataError: *run_dir* holds no finished run.
        ConfigError: *out* is a destination that must not be written.
        DiskError: the file cannot be written.
    """
    destination = (
        Destination(run_dir / REPORT, record=run_dir) if out is None else Destination(out, overwrite=overwrite)
    )
    with open_run(run_dir) as run:
        claim([destination], inputs=paths_in(run.manifest))
        survey = survey_of(run)
        if not survey.total:
            raise DataError(f"{run_dir}: no sample is finished; 'rt run' resumes the run")
        numbers = compressed_object(columns(survey))
        page = Page(facts_of(run, survey), survey.metrics, numbers)
        texts = compress_texts(run, survey.total, 1e6 * megabytes - page.size)
        with whole(destination) as part, part.open("w", encoding="utf-8") as file:
            file.writelines(page.pieces(texts))
    return destination.path
