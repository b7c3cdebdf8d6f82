"""Selection by a file of scores: joined by id, streamed, by the rules that the scores were made with."""

from __future__ import annotations

import gc
import json
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rt_framework.builtin.selectors.dataset import Top
from rt_framework.config.schema import Data
from rt_framework.data import open_source
from rt_framework.errors import DataError, PluginError
from rt_framework.jobs.selecting import select_file
from rt_framework.kit.parts import Spec
from rt_framework.model import Pair, Sample
from rt_framework.plugin.host import Host
from tests.run_helpers import json_lines, row, rows, write_json


def scored(folder: Path, values: list[float | None], preset: str | None = None, order: int = 1) -> tuple[Path, Path]:
    """Rows, a line of scores for each, and what ``rt score`` notes of the preset."""
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in rows(len(values))))
    samples = open_source(Host(only=[]), Data(str(data))).samples()
    lines = [
        {
            "id": sample.id,
            "row": sample.row,
            "status": "ok" if value is not None else "empty",
            "metrics": {"ifd": value},
        }
        for sample, value in zip(samples, values, strict=True)
    ]
    scores = folder / "s.jsonl"
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines[::order]))
    if preset is not None:
        (folder / "s.jsonl.rt").mkdir()
        write_json(folder / "s.jsonl.rt" / "manifest.json", {"frozen": {"scoring": {"preset": preset}}})
    return data, scores


def select(data: Path, scores: Path, by: str = "top", out: str = "out.jsonl", **options) -> tuple[list[int], str]:
    """The rows that are selected, and what is said of it."""
    source = open_source(Host(only=[]), Data(str(data)))
    by_ = Spec(by, {"metric": "ifd", **(options or {"count": 2})} if by != "random" else options)
    told = select_file(Host(only=[]), source, scores, by_, data.parent / out, data.parent / "rest.jsonl")
    topics = [int(one["topic"][1:]) for one in json_lines(data.parent / out)]
    assert sorted(topics + [int(one["topic"][1:]) for one in json_lines(data.parent / "rest.jsonl")]) == list(
        range(len(rows_of(data)))
    )
    return topics, told


def rows_of(data: Path) -> list[str]:
    """The lines of a file."""
    return data.read_text().splitlines()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("by", ["top", "length-matched", "threshold"])
def test_the_order_of_the_scores_does_not_matter(tmp_path, order, by):
    """They are found by id; texts that a selector asks for are those of the sample."""
    data, scores = scored(tmp_path, [0.5, 0.9, None, 0.1, 0.8, 0.2], order=order)
    options = {"above": 0.6} if by == "threshold" else {"count": 2}
    found, _ = select(data, scores, by, **options)
    assert found == ([1, 4] if by != "length-matched" else found)
    assert len(found) == 2
    assert by != "length-matched" or set(found) < {0, 3, 5}


@pytest.mark.parametrize(
    ("preset", "expected", "note"),
    [
        ("selective-rt", [1, 2], ""),
        ("chat", [0, 3], ""),
        (None, [0, 3], "; 2 values outside their metric's range cannot win: "),
        ("of a later release", [0, 3], "; 2 values outside their metric's range cannot win: "),
    ],
)
def test_the_preset_of_the_scores_says_whether_a_range_binds(tmp_path, preset, expected, note):
    """As in a run. Where it is not known the range holds, and that is said if it made a difference."""
    told = select(*scored(tmp_path, [0.9, 1.2, 1.5, 0.8], preset))
    assert told[0] == expected
    assert told[1].startswith(f"{tmp_path}/out.jsonl: 2 of 4 samples{note}")
    assert bool(note) == ("s.jsonl.rt, which tells the preset" in told[1])


def test_nothing_is_said_of_a_range_that_makes_no_difference(tmp_path):
    """No value lies outside."""
    assert select(*scored(tmp_path, [0.9, 0.2, 0.5]))[1] == f"{tmp_path}/out.jsonl: 2 of 3 samples"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines, lines[1]], "line 4: sample .* has a line already; remove one of them, or score"),
        (lambda lines: lines[:2], "no scores of sample .*; score the same data again with 'rt score'"),
        (lambda lines: [*lines[:2], lines[2].replace("0.5", "NaN")], "line 3: not a line of 'rt score': .* finite num"),
        (lambda lines: [*lines[:2], lines[2].replace("0.5", '"0.5"')], "line 3: not a line of 'rt score': "),
        (lambda lines: [*lines[:2], lines[2].replace("0.5", "1e999")], "line 3: not a line of 'rt score': "),
        (lambda lines: [*lines[:2], lines[2].replace('"id": "', '"id": 3, "x": "')], "line 3: not a line of"),
        (lambda lines: [*lines[:2], lines[2].replace("ifd", "ppl")], "no metric 'ifd' here; .*; line 3 has none"),
        (lambda lines: [*lines[:2], "[" * 100_000], "line 3: not a line of 'rt score': "),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path, change, message):
    """Twice, missing, or no score; nothing is written."""
    data, scores = scored(tmp_path, [0.9, 0.2, 0.5])
    scores.write_text("".join(f"{line}\n" for line in change(scores.read_text().splitlines())))
    with pytest.raises(DataError, match=rf"s\.jsonl: {message}"):
        select(data, scores)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize("by", ["top", "length-matched", "random"])
def test_a_selection_holds_no_texts(tmp_path, monkeypatch, by):
    """Ids and scores only, however many samples there are."""
    data, scores = scored(tmp_path, [number / 500 for number in range(400)])
    found, calls = [], count()
    record = json.loads
    gc.freeze()  # what was there before is not looked at: it may be millions of objects

    def watched(*args, **kwargs):
        if next(calls) % 97 == 0:
            gc.collect()
            found.append(sum(type(one) in (Pair, Sample) for one in gc.get_objects()))
        return record(*args, **kwargs)

    monkeypatch.setattr(json, "loads", watched)
    try:
        select(data, scores, by, count=40)
    finally:
        gc.unfreeze()
    assert len(found) > 10
    assert max(found) < 30


def test_a_selector_that_forgets_a_sample_is_named(tmp_path, monkeypatch):
    """Its verdicts could be anybody's."""
    monkeypatch.setattr(Top, "select", lambda self, rows: [])
    with pytest.raises(PluginError, match="selector 'top' decided on 0 of 3 samples"):
        select(*scored(tmp_path, [0.9, 0.2, 0.5]))


def test_a_place_that_cannot_hold_the_samples_is_known_before_the_scores_are_read_through(tmp_path, monkeypatch):
    """Also the place of those that were not selected."""
    pq.write_table(pa.table({"instruction": ["a"], "output": ["b"], "odd": [b"c"]}), tmp_path / "data.parquet")
    source = open_source(Host(only=[]), Data(str(tmp_path / "data.parquet")))
    monkeypatch.setattr(Top, "select", lambda self, rows: 1 / 0)
    (tmp_path / "s.jsonl").write_text("")
    by, out = Spec("top", {"metric": "ifd", "count": 1}), tmp_path / "out.parquet"
    with pytest.raises(DataError, match=r"data\.parquet: row 0 .from 0.: column 'odd' cannot be written"):
        select_file(Host(only=[]), source, tmp_path / "s.jsonl", by, out, tmp_path / "rest.jsonl")
    assert not out.exists()


def test_data_that_changes_under_a_selection_is_told_as_that(tmp_path, monkeypatch):
    """Neither place is written."""
    data, scores = scored(tmp_path, [0.9, 0.2, 0.5])
    decide = Top.select

    def select_and_change(self, found):
        data.write_text(data.read_text() + json.dumps(row(9)) + "\n")
        return decide(self, found)

    monkeypatch.setattr(Top, "select", select_and_change)
    with pytest.raises(DataError, match=r"data\.jsonl: changed while it was in use"):
        select(data, scores)
    assert not (tmp_path / "out.jsonl").exists()
    assert not (tmp_path / "rest.jsonl").exists()
