"""Selection by scores that were computed before: files in, files out, no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rt_framework.config import Builder
from rt_framework.destinations import Destination, claim, paths_in
from rt_framework.errors import ConfigError, DataError
from rt_framework.host import Host
from rt_framework.model import Record, Score, Scored
from rt_framework.protocols import DatasetSelector, Metric
from rt_framework.records import kind_of, write_records
from rt_framework.source import Source, output_format
from rt_framework.spec import Spec


def select_file(
    host: Host,
    source: Source,
    scores: Path,
    by: Spec,
    out: Path,
    dropped: Path | None,
    overwrite: bool = False,
) -> str:
    """Write the selected samples, and the others if asked to; returns what was done in one line.

    Raises:
        DataError: a score line is broken or missing for a sample.
        ConfigError: the selector is none over a data set, or a destination must not be written.
    """
    make = Builder(host)
    given = [("--out", out, True), ("--dropped", dropped, False)]
    parts = [
        (
            form := output_format(host, path, None, source.format_name),
            Destination(path, option, kind_of(form), None, overwrite),
            wanted,
        )
        for option, path, wanted in given
        if path is not None
    ]
    claim([destination for _, destination, _ in parts], [source.path], [scores, *paths_in(by)])
    selector: DatasetSelector = make.spec("selectors", by)
    if not hasattr(selector, "select"):
        raise ConfigError(f"selector '{by.name}' chooses between versions of a sample, not between samples")
    metrics = {name: make("metrics", name) for name in selector.needs}
    lines = read_scores(scores)
    rows = [
        Scored(sample.id, sample.row, sample.original, _scores(scores, lines, sample.id, metrics))
        for sample in source.samples()
    ]
    kept = {row.sample_id for row, verdict in zip(rows, selector.select(rows), strict=True) if verdict.keep}
    for form, destination, wanted in parts:
        write_records(destination, form, source.shape, source.columns, _records(source, kept, wanted))
    return f"{out}: {len(kept)} of {len(rows)} samples"


def _records(source: Source, kept: set[str], wanted: bool) -> Iterator[Record]:
    return (record for sample, record in source if (sample.id in kept) is wanted)


def read_scores(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of a file that ``rt score`` wrote, by sample id: the ``status``, and the value of each metric.

    Raises:
        DataError: there is no such file, or a line is none of those.
    """
    lines = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                    lines[line["id"]] = {"status": line["status"], **line["metrics"]}
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(f"{path}: line {number}: not a line of 'rt score': {error}") from error
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; 'rt score' writes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return lines


def _scores(path: Path, lines: dict[str, dict[str, Any]], id_: str, metrics: dict[str, Metric]) -> dict[str, Score]:
    if id_ not in lines:
        raise DataError(f"{path}: no scores of sample {id_}; score the same data again with 'rt score'")
    line = lines[id_]
    missing: Sequence[str] = [name for name in metrics if name not in line]
    if missing:
        raise DataError(f"{path}: no metric '{missing[0]}' here; run 'rt score' with --metric {missing[0]}")
    return {name: _score(line, name, metric) for name, metric in metrics.items()}


def _score(line: dict[str, Any], name: str, metric: Metric) -> Score:
    value = line[name]
    if value is None:
        return Score(None, line["status"], f"{name} has no value")
    if value not in metric.valid:
        return Score(value, "out_of_range", f"not {metric.valid}")
    return Score(value)
