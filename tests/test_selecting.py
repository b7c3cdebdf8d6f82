"""Selection by a file of scores: joined by id, streamed, by the rules that the scores were made with."""

from __future__ import annotations

import json
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
from tests.helpers import Cli, Living, the_error
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
    living = Living(monkeypatch, Pair, Sample)
    select(data, scores, by, count=40)
    assert 0 < living.most < 30


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


# --- without scores, and from a run -------------------------------------------------------------


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """`rt` with the fakes, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return Cli(monkeypatch, capfd)


def test_a_selector_that_reads_no_scores_needs_none(cli):
    """The control `random` is drawn from any data file, and is the draw that it would be with scores."""
    write_json(Path("d.json"), rows(20))
    by = ("--by", "{random: {count: 5, seed: 3}}")
    done = cli("select", "d.json", *by, "--out", "r.json", "--dropped", "rest.json")
    assert (done.code, done.out) == (0, "r.json: 5 of 20 samples\n")
    assert cli("score", "d.json", "--student", "fake", "--metric", "ifd", "--out", "s.jsonl").code == 0
    assert cli("select", "d.json", *by, "--scores", "s.jsonl", "--out", "again.json").code == 0
    assert Path("r.json").read_text() == Path("again.json").read_text()
    assert len(json.loads(Path("rest.json").read_text())) == 15


def test_a_selector_that_reads_scores_says_how_to_get_them(cli):
    """Before anything is written."""
    write_json(Path("d.json"), rows(4))
    done = cli("select", "d.json", "--by", "{top: {metric: ifd, count: 2}}", "--out", "r.json")
    assert the_error(done) == "the selector reads ifd: give the output of 'rt score' with --scores"
    assert not Path("r.json").exists()


@pytest.fixture
def run_dir(cli):
    """A run that has kept rewrites, with `ifd` of each kept version; two samples are dropped."""
    write_json(Path("d.json"), rows(8))
    pipeline = [
        {"reflect": "response"},
        {"choose": "newest"},
        {"measure": ["ifd"]},
        {"select": {"random": {"count": 6}}},
    ]
    config = {"data": {"path": "d.json"}, "teacher": "scripted", "student": "fake", "pipeline": pipeline}
    config["scoring"] = {"preset": "selective-rt"}  # whose range does not bind, so that every score can win
    Path("rt.yaml").write_text(json.dumps(config))
    assert cli("run", "rt.yaml", "--run-dir", "run").code == 0
    return Path("run")


def test_a_run_stands_for_what_it_kept_with_its_scores(cli, run_dir):
    """The best by the score of the kept version, in the order of the input, and written as the run wrote them."""
    lines = [line for line in json_lines(run_dir / "scores.jsonl") if line["kept"]]
    kept = json.loads((run_dir / "kept.json").read_text())
    values = [line["scores"][line["kept"]]["ifd"] for line in lines]
    done = cli(
        "select", run_dir, "--by", "{top: {metric: ifd, count: 2}}", "--out", "best.json", "--dropped", "rest.json"
    )
    assert (done.code, done.out) == (0, "best.json: 2 of 6 samples\n")
    best = sorted(sorted(range(6), key=lambda place: -values[place])[:2])
    assert json.loads(Path("best.json").read_text()) == [kept[place] for place in best]
    assert len(json.loads(Path("rest.json").read_text())) == 4


READER = """
import json
from pathlib import Path
from rt_framework import Verdict, hookimpl

class Reader:
    needs = ()
    def select(self, rows):
        Path("read.json").write_text(json.dumps([row.version.pair.response for row in rows]))
        return [Verdict(True, "read") for _ in rows]

@hookimpl
def rt_register_selectors(register):
    register("reader", "reader:Reader")
"""


def test_a_text_of_a_run_is_that_of_the_kept_version(cli, run_dir):
    """A selector that reads texts reads what was written."""
    Path("reader.py").write_text(READER)
    assert cli("-p", "./reader.py", "select", run_dir, "--by", "reader", "--out", "all.json").code == 0
    kept = json.loads((run_dir / "kept.json").read_text())
    assert json.loads(Path("all.json").read_text()) == kept
    assert (
        json.loads(Path("read.json").read_text())
        == [row["output"] for row in kept]
        != [row["output"] for row in rows(6)]
    )


def test_a_run_without_the_score_says_how_to_get_it(cli, run_dir):
    """A stage `measure` computes it, and nothing is asked again."""
    done = cli("select", run_dir, "--by", "{top: {metric: r-ifd, count: 2}}", "--out", "best.json")
    assert "was kept without a score 'r-ifd': add 'measure: [r-ifd]' to the pipeline" in the_error(done)
    assert not Path("best.json").exists()


@pytest.mark.parametrize("option", [("--scores", "s.jsonl"), ("--limit", "2"), ("--shape", "alpaca")])
def test_a_run_says_itself_how_its_data_is_read(cli, run_dir, option):
    """An option that would be ignored is refused."""
    done = cli("select", run_dir, "--by", "{random: {count: 2}}", "--out", "best.json", *option)
    assert done.code == 2 and "run is a run directory, which says itself how its data is read" in the_error(done)
    assert the_error(cli("select", run_dir, "--by", "{random: {count: 2}}", "--out", run_dir / "kept.json"))
