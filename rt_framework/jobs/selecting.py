"""Selection of samples by scores that were computed before, without a model: from files, or from what a run kept."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

from rt_framework.config import Builder
from rt_framework.data import Destination, Source, Spool, Unread, claim, kind_of, output_format, paths_in
from rt_framework.errors import ConfigError, DataError, PluginError, RtError, described
from rt_framework.jobs.candidates import Candidates, KeptSamples, Rows, ScoredRows
from rt_framework.kit.parts import Spec
from rt_framework.kit.score_table import ScoreTable
from rt_framework.model import ORIGINAL, Pair, Record, Scored, Version
from rt_framework.plugin import Host
from rt_framework.protocols import ColumnReader, DatasetSelector, Format, VectorReader
from rt_framework.results import open_run
from rt_framework.rundir import Outlet, open_outlet, write_parts


def select_file(
    host: Host,
    source: Source,
    scores: Path | None,
    by: Spec,
    out: Path,
    dropped: Path | None,
    overwrite: bool = False,
) -> str:
    """Write the selected samples, and the others if asked to; return a line that says what was done.

    Ids and scores of all samples stay in memory; a selector that asks for texts gets them from a temporary file.

    Args:
        host: finds the plugins.
        source: the samples.
        scores: output of ``rt score`` for them; it may be left out for a selector that reads no scores.
        by: the selector.
        out: file of the selected samples.
        dropped: file of the other samples.
        overwrite: whether existing files that this program did not write may be replaced.

    Raises:
        DataError: the score line of a sample is broken, duplicate or missing; a sample cannot be written.
        ConfigError: the selector does not choose between samples, it reads scores and there are none, or a destination
            must not be written.
    """
    candidates = Rows(source) if scores is None else ScoredRows(source, scores)
    return _select(host, candidates, by, out, dropped, overwrite)


def select_kept(
    host: Host, run_dir: Path, by: Spec, out: Path, dropped: Path | None = None, overwrite: bool = False
) -> str:
    """Select from the samples that a run kept, by the scores that it has of them; otherwise as :func:`select_file`.

    Raises:
        DataError: the run is not finished, or has no score of a kept sample by a metric that the selector reads; or as
            :func:`select_file`.
        ConfigError: as :func:`select_file`.
    """
    with open_run(run_dir, host) as run:
        return _select(host, KeptSamples(run), by, out, dropped, overwrite)


def _select(host: Host, candidates: Candidates, by: Spec, out: Path, dropped: Path | None, overwrite: bool) -> str:
    make, source = Builder(host), candidates.source
    formats: dict[bool, str] = {}
    destinations: dict[bool, Destination] = {}
    for option, path, wanted in (("--out", out, True), ("--dropped", dropped, False)):
        if path is not None:
            formats[wanted] = output_format(host, path, source.format_name)
            form: Format = make("formats", formats[wanted])
            destinations[wanted] = Destination(path, option, kind_of(form), None, overwrite)
    claim(destinations.values(), source.inputs, [candidates.scores, *paths_in(by)])
    selector = _selector(make, by)
    table = candidates.table({name: make("metrics", name.partition("@")[0]) for name in selector.needs})
    outlets: dict[str, Outlet] = {}
    for name in formats.values():
        if name not in outlets:
            source, outlets[name] = open_outlet(make, source, name)
    records = partial(candidates.records, source)
    columns = tuple(selector.columns) if isinstance(selector, ColumnReader) else ()
    with source.steady(), Spool[Pair]() as texts, Spool[dict[str, Any]]() as extras:
        rows = _rows(records, table, candidates, texts, columns, extras)
        kept = _decided(by.name, selector, rows)
    unread = source.unread() if candidates.whole and dropped is not None else iter(())
    marked = _marked(kept, records(), unread)
    write_parts(source, marked, {wanted: (to, outlets[formats[wanted]]) for wanted, to in destinations.items()})
    left_out = f"; {source.left_out}" if candidates.whole and source.left_out else ""
    return f"{out}: {sum(kept)} of {len(kept)} samples{candidates.note}{left_out}"


def _marked(
    kept: Iterable[int], records: Iterable[tuple[str, int, Record]], unread: Iterable[Unread]
) -> Iterator[tuple[bool, Record | Unread]]:
    """Yield each record with whether it is kept, and each row that cannot be read as one that is not, by row number."""
    chosen = ((number, bool(keep), record) for keep, (_, number, record) in zip(kept, records, strict=True))
    left_out = ((row.number, False, row) for row in unread)
    marked: Iterator[tuple[int, bool, Record | Unread]] = merge(chosen, left_out, key=itemgetter(0))
    return ((keep, row) for _, keep, row in marked)


def _selector(make: Builder, by: Spec) -> DatasetSelector:
    """Build a selector that chooses between samples by their scores and texts.

    Raises:
        PluginError: it is unknown or broken.
        ConfigError: it does not choose between samples, or reads vectors of a student.
    """
    selector: DatasetSelector = make.spec("selectors", by)
    if not hasattr(selector, "select"):
        raise ConfigError(f"selector '{by.name}' chooses between versions of a sample, not between samples")
    if isinstance(selector, VectorReader) and selector.embeds is not None:
        raise ConfigError(
            f"selector '{by.name}' reads vectors of a student, and this command has no student: use it in 'rt run', in "
            "a stage 'select'"
        )
    return selector


def _decided(name: str, selector: DatasetSelector, rows: Sequence[Scored]) -> bytearray:
    """Return whether the selector keeps each row.

    Raises:
        PluginError: the selector raised an exception, or did not decide on every row.
    """
    try:
        kept = bytearray(verdict.keep for verdict in selector.select(rows))
    except RtError:
        raise
    except Exception as error:
        raise PluginError(f"selector '{name}' failed: {described(error)}") from error
    if len(kept) != len(rows):
        raise PluginError(f"selector '{name}' decided on {len(kept)} of {len(rows)} samples")
    return kept


def _rows(
    records: Callable[[], Iterator[tuple[str, int, Record]]],
    table: ScoreTable,
    candidates: Candidates,
    texts: Spool[Pair],
    columns: Sequence[str],
    extras: Spool[dict[str, Any]],
) -> Sequence[Scored]:
    """Return the rows that a selector takes, in the order of the records.

    *texts* is filled when the selector asks for a text, *extras* at once with the *columns* that it reads.
    """
    numbers, positions = array("Q"), array("Q")
    for place, (sample_id, number, record) in enumerate(records()):
        missing = next((name for name in columns if name not in record.extra), None)
        if missing is not None:
            raise DataError(
                f"{candidates.source.name}: row {number} (from 0) lacks the column '{missing}' of the selector"
            )
        if columns:
            extras.append({name: record.extra[name] for name in columns})
        position = table.position(sample_id, guess=place)
        if position is None:
            raise DataError(
                f"{candidates.scores}: no scores of sample {sample_id}; score the same data again with 'rt score'"
            )
        numbers.append(number)
        positions.append(position)

    def version(place: int) -> Version:
        # A selector takes texts in any order, but data can only be read in its own: all of them go to a file first.
        if not len(texts):
            for _, _, record in records():
                texts.append(record.pair)
        return Version(ORIGINAL, texts[place])

    return table.rows(numbers, version, positions, extras.__getitem__ if columns else None)
