"""Several runs side by side on one page: what was run, what came of it, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from attrs import evolve, frozen

from rt_framework.data import Destination, claim, paths_in, whole
from rt_framework.errors import ConfigError, DataError
from rt_framework.ledger import KEPT
from rt_framework.report.evidence import evidence_of
from rt_framework.report.first_screen import FirstScreen, first_screen
from rt_framework.report.page import pieces
from rt_framework.report.proved import proved
from rt_framework.report.survey import survey_of
from rt_framework.report.texts import fit
from rt_framework.results import open_run

_MOST = 8
"""Most runs of one page."""


@frozen
class _Beside:
    """A run as the page shows it."""

    first: FirstScreen
    ends: Mapping[str, tuple[bool, str]]
    """Of each sample, by id, whether it was kept, and the hash of the texts that it ended with."""
    inputs: tuple[Path, ...]


def write_beside(run_dirs: Sequence[Path], out: Path, overwrite: bool = False) -> Path:
    """Write a page that shows several finished runs side by side.

    Args:
        run_dirs: the runs, two to eight.
        out: path of the page.
        overwrite: whether a file that is at *out* may be replaced.

    Raises:
        DataError: a directory holds no finished run.
        ConfigError: there are too many runs, one is named twice, or *out* must not be written.
        DiskError: the file cannot be written.
    """
    if len(run_dirs) > _MOST:
        raise ConfigError(f"a page shows {_MOST} runs at most, not {len(run_dirs)}")
    if len({path.resolve() for path in run_dirs}) < len(run_dirs):
        raise ConfigError("a run is named twice; give each directory once")
    destination = Destination(out, overwrite=overwrite)
    claim([destination])
    runs = [_read(path) for path in run_dirs]
    claim([destination], inputs=[path for run in runs for path in run.inputs])
    firsts = _titled([run.first for run in runs], run_dirs)
    html = pieces("beside.html.j2", runs=firsts, rows=tuple(_rows(firsts)), common=tuple(_common(runs, firsts)))
    with whole(destination) as part:
        part.write_text("".join(html), "utf-8")
    return destination.path


def _read(run_dir: Path) -> _Beside:
    with open_run(run_dir) as run:
        survey = survey_of(run)
        if not survey.total:
            raise DataError(f"{run_dir}: no sample is finished; 'rt run' resumes the run")
        ends = {line.id: (line.outcome in KEPT, line.text) for line in survey.lines}
        first = first_screen(run, evidence_of(run, survey, proved(run).proof))
        return _Beside(first, ends, tuple(paths_in(run.manifest)))


def _titled(firsts: Sequence[FirstScreen], run_dirs: Sequence[Path]) -> tuple[FirstScreen, ...]:
    """Return the screens with titles that tell them apart: the paths, where two directories have the same name."""
    if len({first.title for first in firsts}) == len(firsts):
        return tuple(firsts)
    return tuple(evolve(first, title=fit(str(path))) for first, path in zip(firsts, run_dirs, strict=True))


def _rows(firsts: Sequence[FirstScreen]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what was run and the numbers, by name, with a cell for each run."""
    columns = [
        {**dict(first.brief), **{tile.name: f"{tile.value} ({tile.change})" for tile in first.tiles}}
        for first in firsts
    ]
    for name in dict.fromkeys(name for column in columns for name in column):
        yield name, tuple(column.get(name, "–") for column in columns)


def _common(runs: Sequence[_Beside], firsts: Sequence[FirstScreen]) -> Iterator[tuple[str, ...]]:
    """Yield for each two runs how many samples both have, kept, and kept with the same texts."""
    for one, other in combinations(range(len(runs)), 2):
        a, b = runs[one].ends, runs[other].ends
        both = a.keys() & b.keys()
        counts = (
            len(both),
            sum(a[key][0] and b[key][0] for key in both),
            sum(a[key][0] and not b[key][0] for key in both),
            sum(b[key][0] and not a[key][0] for key in both),
            sum(a[key][0] and a[key] == b[key] for key in both),
        )
        yield f"{firsts[one].title} and {firsts[other].title}", *(f"{count:,}" for count in counts)
