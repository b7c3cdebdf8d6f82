"""Display of a list of samples, a line each, as they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from rich.cells import cell_len, set_cell_size

from rt_framework.results import Listed
from rt_framework.terminal.printing import line, stdout
from rt_framework.text import number_of, shown

_ROW, _ID, _OUTCOME, _SCORE = 5, 8, 9, 6
"""Least widths of the columns with the row, the beginning of the id, the outcome and a score."""

_MEASURED = 1000
"""Number of lines that are held back to find the width of the column with the version."""

_LEAST = 14
"""Least width of the column with the beginning of the instruction."""

_WIDE = 100
"""Width from which there is room for more than two scores."""


def list_samples(listed: Iterable[Listed], metrics: Sequence[str]) -> None:
    """Print a line for each sample as it comes, below the names of the columns.

    Args:
        listed: the samples.
        metrics: names of the scores to show, the most important one first.
    """
    console = stdout()
    metrics = metrics[: 4 if console.width >= _WIDE else 2]
    head = ("row", "id", "outcome", "version", *metrics, "instruction")
    cells = _cells(listed, metrics)
    first = list(islice(cells, _MEASURED))
    version = max((cell_len(one[3]) for one in (head, *first)), default=0)
    if first:
        console.print(line(_in_columns(head, version, console.width)), style="bold", soft_wrap=True)
    for one in chain(first, cells):
        console.print(line(_in_columns(one, version, console.width)), soft_wrap=True)


def show_matching(matching: int, total: int, most: int, explain: str) -> None:
    """Print how many samples match, and how to go on.

    Args:
        matching: number of samples that match.
        total: number of all samples.
        most: most samples that were listed; 0 for all.
        explain: the command that tells more about one.
    """
    rest = f"; {most:,} of them are shown, -n 0 shows all" if 0 < most < matching else ""
    stdout().print(line(f"{matching:,} of {number_of(total, 'sample')} match{rest}"))
    if matching:
        stdout().print(line(f"'{explain}' shows what became of one of them, and why"))


def _cells(listed: Iterable[Listed], metrics: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for one in listed:
        scores = [one.scores.get(metric) for metric in metrics]
        told = ["" if score is None else "–" if score.value is None else f"{score.value:.3f}" for score in scores]
        yield str(one.row), one.id, one.outcome, one.version, *told, one.instruction


def _in_columns(cells: Sequence[str], version: int, width: int) -> str:
    """Return the cells of a line side by side, numbers to the right, and the instruction cut.

    Args:
        cells: the cells.
        version: width of the column with the version.
        width: width of the line.
    """
    row, sample_id, outcome, name, *scores, text = cells
    left = [row.rjust(_ROW), set_cell_size(sample_id, _ID), outcome.ljust(_OUTCOME), _cut(name, version)]
    columns = "  ".join([*left, *(score.rjust(_SCORE) for score in scores)])
    return f"{columns}  {_cut(text, max(_LEAST, width - cell_len(columns) - 2))}".rstrip()


def _cut(text: str, room: int) -> str:
    words = " ".join(shown(text[: 4 * room]).split())
    return set_cell_size(words if cell_len(words) <= room else f"{set_cell_size(words, room - 1).rstrip()}…", room)
